"""The one rule for background work: guarded, told once a cause, tried again later and later, visible."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from broker_kit import NOW, ManualClock, turns

from kgw_core.background import CAUSES, Background, Failing, Faults, Health, PartlyFailed
from kgw_core.errors import KafkaStorageError

pytestmark = pytest.mark.anyio


class Doing:
    """Work that fails with each of ``errors`` in order, and then succeeds."""

    def __init__(self, clock: ManualClock, *errors: Exception) -> None:
        self.clock = clock
        self.errors = list(errors)
        self.times: list[float] = []

    async def __call__(self) -> None:
        self.times.append(self.clock.monotonic())
        await anyio.lowlevel.checkpoint()
        if self.errors:
            raise self.errors.pop(0)


async def go_on(clock: ManualClock, seconds: int) -> None:
    """Advance by one second at a time, so that the effects of each come before the next."""
    for _ in range(seconds):
        await clock.advance(1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def background(clock: ManualClock) -> Background:
    return Background(clock)


@asynccontextmanager
async def running(*works: Callable[..., object]) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        for work in works:
            tasks.start_soon(work)  # type: ignore[arg-type]
        await turns()
        yield
        tasks.cancel_scope.cancel()


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# -- tried again


async def test_it_is_tried_again_later_and_later_up_to_a_limit(
    clock: ManualClock, background: Background
) -> None:
    work = Doing(clock, *[KafkaStorageError("not now")] * 7)
    async with running(lambda: background.until_done("counting", work)):
        await go_on(clock, 300)
    assert work.times == [0, 1, 3, 7, 15, 31, 61, 91]


async def test_what_is_done_again_and_again_goes_on_after_a_failure(
    clock: ManualClock, background: Background
) -> None:
    """Sooner than after its interval, and never later."""
    work = Doing(clock, ValueError("a fault"), KafkaStorageError("not now"), *[OSError("disk")] * 3)
    async with running(lambda: background.every("looking", 10, work)):
        await go_on(clock, 60)
    assert work.times == [10, 11, 13, 17, 25, 35, 45, 55]


async def test_an_interval_that_changes_counts_from_the_next_time_on(
    clock: ManualClock, background: Background
) -> None:
    work, seconds = Doing(clock, *[OSError("disk")] * 3), 10.0
    async with running(lambda: background.every("looking", lambda: seconds, work)):
        seconds = 2.0
        await go_on(clock, 16)
    assert work.times == [10, 11, 13, 15]


async def test_what_runs_for_ever_is_begun_anew_and_works_when_it_has_not_failed_for_a_while(
    clock: ManualClock, background: Background
) -> None:
    begun = 0

    async def serve() -> None:
        nonlocal begun
        begun += 1
        if begun <= 2:
            raise ValueError(begun)
        await anyio.sleep_forever()

    async with running(lambda: background.keep("serving", serve)):
        await go_on(clock, 3)
        assert begun == 3
        assert background.health.failing["serving"].tries == 2
        await go_on(clock, 4)
        assert background.health.failing == {}
        assert clock.waiting == 0


async def test_a_failure_ends_nothing_else(clock: ManualClock, background: Background) -> None:
    fails, works = Doing(clock, *[ValueError("a fault")] * 100), Doing(clock)
    async with running(
        lambda: background.every("failing", 5, fails), lambda: background.every("working", 5, works)
    ):
        await go_on(clock, 20)
    assert works.times == [5, 10, 15, 20]


async def test_what_ends_the_process_is_not_caught(background: Background) -> None:
    async def end() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await background.until_done("ending", end)


# -- told


async def test_a_cause_is_told_once_and_so_is_the_success_after_it(
    clock: ManualClock, background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    work = Doing(clock, *[KafkaStorageError("the disk is full")] * 20)
    async with running(lambda: background.until_done("keeping", work)):
        await go_on(clock, 1_000)
    assert lines(caplog) == [
        "keeping failed, and is tried again: the disk is full",
        "keeping works again, 481 s after it began to fail",
    ]


async def test_numbers_make_no_other_cause_but_another_text_does(
    clock: ManualClock, background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    work = Doing(clock, *[KafkaStorageError(f"{n} bytes left") for n in range(5)], KafkaStorageError("gone"))
    async with running(lambda: background.until_done("keeping", work)):
        await go_on(clock, 100)
    assert lines(caplog, logging.ERROR) == [
        "keeping failed, and is tried again: 0 bytes left",
        "keeping failed, and is tried again: gone",
    ]


async def test_after_a_success_a_cause_is_told_anew(
    clock: ManualClock, background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    work = Doing(clock, KafkaStorageError("x"))
    async with running(lambda: background.every("keeping", 1, work)):
        await go_on(clock, 3)
        work.errors.append(KafkaStorageError("x"))
        await go_on(clock, 3)
    assert lines(caplog, logging.ERROR) == ["keeping failed, and is tried again: x"] * 2


async def test_a_fault_is_told_with_its_traceback_what_a_store_says_without(
    clock: ManualClock, background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    work = Doing(clock, KafkaStorageError("not now"), ZeroDivisionError("a fault"))
    async with running(lambda: background.until_done("keeping", work)):
        await go_on(clock, 10)
    assert [bool(record.exc_info) for record in caplog.records if record.levelno == logging.ERROR] == [
        False,
        True,
    ]


async def test_ever_new_causes_are_told_up_to_a_number(
    clock: ManualClock, background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    work = Doing(clock, *[KafkaStorageError("x" * n) for n in range(2 * CAUSES)])
    async with running(lambda: background.every("keeping", 1, work)):
        await go_on(clock, 3 * CAUSES)
    assert len(lines(caplog, logging.ERROR)) == CAUSES


async def test_a_failure_on_some_of_many_names_the_first_and_counts(
    clock: ManualClock, background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    faults = Faults("partitions")
    faults.tell()
    faults.add("t-1", KafkaStorageError("not now"))
    faults.add("t-2", ValueError("x"))
    with pytest.raises(PartlyFailed, match="2 partitions, as t-1: not now"):
        faults.tell()

    async def work() -> None:
        faults.tell()

    async with running(lambda: background.every("looking", 1, work)):
        await go_on(clock, 9)
    assert lines(caplog, logging.ERROR) == [
        "looking failed, and is tried again: 2 partitions, as t-1: not now"
    ]


async def test_what_escapes_from_a_coroutine_that_nobody_waits_for_is_logged(
    background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ValueError("a fault")

    background.spawn(fail())
    await turns()
    assert [(record.getMessage(), bool(record.exc_info)) for record in caplog.records] == [
        ("a background task failed", True)
    ]


# -- visible


async def test_what_fails_now_is_seen_with_its_cause_and_since_when(
    clock: ManualClock, background: Background
) -> None:
    seen: list[dict[str, Failing]] = []
    background.health.changed.append(lambda: seen.append(dict(background.health.failing)))
    work = Doing(clock, KafkaStorageError("not now"), ValueError("a fault"))
    async with running(lambda: background.every("looking", 60, work)):
        await go_on(clock, 60)
        assert background.health.failing == {
            "looking": Failing("looking", NOW + 60_000, 1, "not now"),
        }
        await go_on(clock, 60)
    assert [list(failing.values()) for failing in seen] == [
        [Failing("looking", NOW + 60_000, 1, "not now")],
        [Failing("looking", NOW + 60_000, 2, "ValueError('a fault')")],
        [],
    ]


async def test_a_listener_that_fails_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    health = Health()
    told: list[int] = []
    health.changed += [lambda: 1 // 0, lambda: told.append(1)]
    health.fails(Failing("work", NOW, 1, "x"))
    health.works("work")
    health.works("work")
    assert told == [1, 1]
    assert caplog.text.count("ZeroDivisionError") == 2


# -- chores


async def test_a_chore_runs_when_it_is_due_once_for_all_that_came_meanwhile(
    clock: ManualClock, background: Background
) -> None:
    work = Doing(clock)
    chore = background.chore("sweeping", work)
    await turns()
    assert work.times == []
    chore.due()
    chore.due()
    await turns(1)
    chore.due()
    chore.due()
    await turns()
    assert len(work.times) == 2
    chore.due()
    await turns()
    assert len(work.times) == 3


async def test_a_chore_that_fails_is_still_due(clock: ManualClock, background: Background) -> None:
    work = Doing(clock, ValueError("a fault"), OSError("disk"))
    chore = background.chore("sweeping", work)
    chore.due()
    await turns()
    assert list(background.health.failing) == ["sweeping"]
    await go_on(clock, 10)
    assert work.times == [0, 1, 3]
    assert not background.health.failing


@pytest.mark.parametrize("again", [0, 5])
async def test_the_end_tries_what_is_due_once_more(
    clock: ManualClock, background: Background, again: int
) -> None:
    work = Doing(clock, *[OSError("disk")] * (1 + again))
    chore = background.chore("sweeping", work)
    chore.due()
    await turns()
    with anyio.fail_after(5):
        await chore.finish()
    assert len(work.times) == 2
    chore.due()
    await go_on(clock, 100)
    assert len(work.times) == 2


async def test_the_end_waits_for_what_is_being_done(clock: ManualClock, background: Background) -> None:
    work = Doing(clock)
    chore = background.chore("sweeping", work)
    chore.due()
    await turns(1)
    chore.due()
    await chore.finish()
    assert len(work.times) == 2
    await chore.finish()


async def test_a_chore_that_is_stopped_ends_whatever_it_does(
    clock: ManualClock, background: Background
) -> None:
    async def work() -> None:
        await anyio.sleep_forever()

    chore = background.chore("sweeping", work)
    chore.due()
    await turns()
    with anyio.fail_after(5):
        await chore.stop()
    chore.due()
    await chore.stop()
