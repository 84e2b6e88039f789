from __future__ import annotations

import logging

import anyio
import anyio.lowlevel
import pytest

from kgw_core.pending import Pending

pytestmark = pytest.mark.anyio


def test_listeners_hear_the_value_in_the_order_they_came() -> None:
    pending: Pending[int] = Pending()
    heard: list[tuple[str, int]] = []
    for name in "abc":
        pending.then(lambda each, name=name: heard.append((name, each.result())))  # type: ignore[misc]
    assert heard == []
    pending.resolve(7)
    assert heard == [("a", 7), ("b", 7), ("c", 7)]


def test_a_listener_that_comes_late_is_called_at_once() -> None:
    pending: Pending[int] = Pending()
    pending.resolve(7)
    heard: list[int] = []
    pending.then(lambda each: heard.append(each.result()))
    assert heard == [7]


def test_only_the_first_value_or_error_counts() -> None:
    pending: Pending[int] = Pending()
    heard: list[int] = []
    pending.then(lambda each: heard.append(each.result()))
    pending.resolve(1)
    pending.resolve(2)
    pending.fail(ValueError("late"))
    assert pending.result() == 1
    assert heard == [1]


def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    pending: Pending[int] = Pending()
    pending.fail(ValueError("no"))
    pending.resolve(1)
    assert pending.done
    with pytest.raises(ValueError, match="no"):
        pending.result()


def test_the_result_of_what_is_not_done_is_an_error_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="not done"):
        Pending[int]().result()


def test_a_listener_that_fails_is_logged_and_hurts_neither_the_others_nor_the_giver(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pending: Pending[int] = Pending()
    heard: list[int] = []

    def broken(_: Pending[int]) -> None:
        raise ValueError("broken listener")

    pending.then(broken)
    pending.then(broken)
    pending.then(lambda each: heard.append(each.result()))
    with caplog.at_level(logging.ERROR):
        pending.resolve(3)
    assert heard == [3]
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_ten_thousand_listeners_are_no_deeper_than_one() -> None:
    pending: Pending[int] = Pending()
    heard = 0

    def hear(_: Pending[int]) -> None:
        nonlocal heard
        heard += 1

    for _ in range(10_000):
        pending.then(hear)
    pending.resolve(1)
    assert heard == 10_000


def test_abandoning_tells_the_work_once_it_is_given_up_and_not_after_it_is_done() -> None:
    told: list[str] = []
    open_one: Pending[int] = Pending()
    open_one.abandon()  # nobody to tell
    open_one.on_abandon = lambda: told.append("open")
    open_one.abandon()
    finished: Pending[int] = Pending()
    finished.on_abandon = lambda: told.append("finished")
    finished.resolve(1)
    finished.abandon()
    assert told == ["open"]


async def test_giving_up_waiting_leaves_the_work_going_on() -> None:
    pending: Pending[int] = Pending()
    with anyio.move_on_after(0):
        await pending.wait()
    assert not pending.done
    pending.resolve(5)
    assert await pending.wait() == 5


async def test_several_wait_for_one_value() -> None:
    pending: Pending[int] = Pending()
    got: list[int] = []

    async def wait() -> None:
        got.append(await pending.wait())

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(wait)
        await anyio.lowlevel.checkpoint()
        pending.resolve(9)
    assert got == [9, 9, 9]


async def test_waiting_raises_the_error() -> None:
    pending: Pending[int] = Pending()
    pending.fail(KeyError("gone"))
    with pytest.raises(KeyError):
        await pending.wait()
