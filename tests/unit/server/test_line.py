"""The order of requests, without a connection: what may start, what leaves, what is kept of the budget."""

from __future__ import annotations

import struct

import pytest

from kgw_core.budget import Budget
from kgw_core.errors import Unanswerable
from kgw_core.pending import Few, Pending
from kgw_core.server.dispatch import Answer
from kgw_core.server.line import DECODED, ENTRY, Line
from kgw_core.wire import Buffer

PRODUCE, OLD_PRODUCE, METADATA = (0, 9), (0, 2), (3, 9)


def ask(kind: tuple[int, int] = METADATA, size: int = 100) -> memoryview:
    return memoryview(struct.pack(">hh", *kind).ljust(size))


@pytest.fixture
def budget() -> Budget:
    return Budget(1 << 20)


@pytest.fixture
def line(budget: Budget) -> Line:
    return Line(budget, 3, 1_000)


def start(line: Line, kind: tuple[int, int]) -> Pending[Answer]:
    answer: Pending[Answer] = Pending()
    line.started(ask(kind), answer)
    return answer


def left(line: Line) -> list[Buffer]:
    out: list[Buffer] = []
    line.leave(out)
    return out


@pytest.mark.parametrize("first", [PRODUCE, OLD_PRODUCE, METADATA])
@pytest.mark.parametrize("second", [PRODUCE, OLD_PRODUCE, METADATA])
def test_only_a_produce_may_follow_and_only_a_produce(
    line: Line, first: tuple[int, int], second: tuple[int, int]
) -> None:
    """Older ones are converted first, in a thread."""
    start(line, first)
    assert line.may_follow(ask(second)) is (first == second == PRODUCE)


def test_nothing_follows_past_what_is_held_nor_past_the_most(line: Line) -> None:
    start(line, PRODUCE)
    line.hold(ask(), True)
    assert not line.may_follow(ask(PRODUCE))
    assert line.next_held() is None
    other = Line(Budget(1 << 20), 3, 1_000)
    for _ in range(3):
        assert other.may_follow(ask(PRODUCE))
        start(other, PRODUCE)
    assert not other.may_follow(ask(PRODUCE))


def test_what_is_held_goes_on_in_order_when_all_before_it_is_answered(line: Line) -> None:
    first = start(line, METADATA)
    held = [ask(PRODUCE), ask(PRODUCE), ask()]
    for frame in held:
        line.hold(frame, True)
    first.resolve(b"1")
    assert left(line) == [b"1"]
    assert line.next_held() is held[0]
    second = start(line, PRODUCE)
    assert line.next_held() is held[1], "it overlaps"
    third = start(line, PRODUCE)
    assert line.next_held() is None
    third.resolve([b"3", b"3"])
    assert left(line) == []
    second.resolve(None)
    assert left(line) == [b"3", b"3"]
    assert line.next_held() is held[2]
    assert line.next_held() is None


def test_an_answer_that_is_there_at_once_waits_for_those_before_it(line: Line) -> None:
    first = start(line, PRODUCE)
    line.answered(b"2")
    first.resolve(b"1")
    assert left(line) == [b"1", b"2"]
    assert line.may_follow(ask(PRODUCE))


def test_what_left_before_one_that_has_failed_has_left(line: Line) -> None:
    start(line, PRODUCE).resolve(b"1")
    start(line, PRODUCE).fail(Unanswerable("no"))
    out: list[Buffer] = []
    with pytest.raises(Unanswerable):
        line.leave(out)
    assert out == [b"1"]


def test_the_budget_is_charged_for_what_is_held_and_what_is_under_way(line: Line, budget: Budget) -> None:
    """A Produce stays the bytes that it is; others become objects."""
    first = start(line, PRODUCE)
    line.hold(ask(), True)
    assert line.kept == budget.used == 200
    first.resolve(b"1")
    left(line)
    assert line.kept == budget.used == 100
    frame = line.next_held()
    assert frame is not None
    assert (line.kept, budget.used) == (0, 100)
    budget.give(len(frame))
    last = start(line, METADATA)
    line.hold(ask(), True)
    assert line.kept == budget.used == 100 * DECODED + 100
    gone: list[bool] = []
    last.on_abandon = lambda: gone.append(True)
    line.abandon()
    assert (line.kept, budget.used, gone) == (0, 0, [True])
    assert not line.held and not line.answers


def test_bytes_that_do_not_stay_are_copied(line: Line) -> None:
    data = bytearray(ask())
    line.hold(memoryview(data), False)
    data[:] = bytes(len(data))
    assert line.next_held() == ask()


@pytest.mark.parametrize(("answer", "entries"), [(Few(7), 7), (Pending(), 1_000)])
def test_a_large_request_is_charged_for_its_bytes_and_the_entries_it_may_have(
    line: Line, budget: Budget, answer: Pending[Answer], entries: int
) -> None:
    """Members that join are a few entries of megabytes, and wait for others whose bytes must have room."""
    line.started(ask(size=1 << 20), answer)
    assert line.kept == budget.used == (2 << 20) + entries * ENTRY
    line.abandon()
    assert budget.used == 0
