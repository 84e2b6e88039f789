"""The order of requests, without a connection: starts, answers, and the budget."""

from __future__ import annotations

import struct

import pytest

from kgw_core.budget import Budget
from kgw_core.errors import Unanswerable
from kgw_core.pending import Counted, Pending
from kgw_core.server.pipeline import DECODED, ENTRY, Pipeline
from kgw_core.server.responses import Answer
from kgw_core.wire import Buffer

PRODUCE, OLD_PRODUCE, METADATA = (0, 9), (0, 2), (3, 9)


def ask(kind: tuple[int, int] = METADATA, size: int = 100) -> memoryview:
    return memoryview(struct.pack(">hh", *kind).ljust(size))


@pytest.fixture
def budget() -> Budget:
    return Budget(1 << 20)


@pytest.fixture
def pipeline(budget: Budget) -> Pipeline:
    return Pipeline(budget, 3, 1_000)


def start(pipeline: Pipeline, kind: tuple[int, int]) -> Pending[Answer]:
    answer: Pending[Answer] = Pending()
    pipeline.started(ask(kind), answer)
    return answer


def left(pipeline: Pipeline) -> list[Buffer]:
    out: list[Buffer] = []
    pipeline.pop_finished(out)
    return out


@pytest.mark.parametrize("first", [PRODUCE, OLD_PRODUCE, METADATA])
@pytest.mark.parametrize("second", [PRODUCE, OLD_PRODUCE, METADATA])
def test_only_a_produce_may_follow_and_only_a_produce(
    pipeline: Pipeline, first: tuple[int, int], second: tuple[int, int]
) -> None:
    """Older ones are converted first, in a thread."""
    start(pipeline, first)
    assert pipeline.may_start(ask(second)) is (first == second == PRODUCE)


def test_nothing_follows_past_what_is_held_nor_past_the_most(pipeline: Pipeline) -> None:
    start(pipeline, PRODUCE)
    pipeline.hold(ask(), True)
    assert not pipeline.may_start(ask(PRODUCE))
    assert pipeline.next_held() is None
    other = Pipeline(Budget(1 << 20), 3, 1_000)
    for _ in range(3):
        assert other.may_start(ask(PRODUCE))
        start(other, PRODUCE)
    assert not other.may_start(ask(PRODUCE))


def test_what_is_held_goes_on_in_order_when_all_before_it_is_answered(pipeline: Pipeline) -> None:
    first = start(pipeline, METADATA)
    held = [ask(PRODUCE), ask(PRODUCE), ask()]
    for frame in held:
        pipeline.hold(frame, True)
    first.resolve(b"1")
    assert left(pipeline) == [b"1"]
    assert pipeline.next_held() is held[0]
    second = start(pipeline, PRODUCE)
    assert pipeline.next_held() is held[1], "it overlaps"
    third = start(pipeline, PRODUCE)
    assert pipeline.next_held() is None
    third.resolve([b"3", b"3"])
    assert left(pipeline) == []
    second.resolve(None)
    assert left(pipeline) == [b"3", b"3"]
    assert pipeline.next_held() is held[2]
    assert pipeline.next_held() is None


def test_an_answer_that_is_there_at_once_waits_for_those_before_it(pipeline: Pipeline) -> None:
    first = start(pipeline, PRODUCE)
    pipeline.answered(b"2")
    first.resolve(b"1")
    assert left(pipeline) == [b"1", b"2"]
    assert pipeline.may_start(ask(PRODUCE))


def test_what_left_before_one_that_has_failed_has_left(pipeline: Pipeline) -> None:
    start(pipeline, PRODUCE).resolve(b"1")
    start(pipeline, PRODUCE).fail(Unanswerable("no"))
    out: list[Buffer] = []
    with pytest.raises(Unanswerable):
        pipeline.pop_finished(out)
    assert out == [b"1"]


def test_the_budget_is_charged_for_what_is_held_and_in_flight(pipeline: Pipeline, budget: Budget) -> None:
    """A Produce stays the bytes that it is; others become objects."""
    first = start(pipeline, PRODUCE)
    pipeline.hold(ask(), True)
    assert pipeline.budgeted == budget.used == 200
    first.resolve(b"1")
    left(pipeline)
    assert pipeline.budgeted == budget.used == 100
    frame = pipeline.next_held()
    assert frame is not None
    assert (pipeline.budgeted, budget.used) == (0, 100)
    budget.give(len(frame))
    last = start(pipeline, METADATA)
    pipeline.hold(ask(), True)
    assert pipeline.budgeted == budget.used == 100 * DECODED + 100
    gone: list[bool] = []
    last.on_abandon = lambda: gone.append(True)
    pipeline.abandon()
    assert (pipeline.budgeted, budget.used, gone) == (0, 0, [True])
    assert not pipeline.held and not pipeline.answers


def test_bytes_that_do_not_stay_are_copied(pipeline: Pipeline) -> None:
    data = bytearray(ask())
    pipeline.hold(memoryview(data), False)
    data[:] = bytes(len(data))
    assert pipeline.next_held() == ask()


@pytest.mark.parametrize(("answer", "entries"), [(Counted(7), 7), (Pending(), 1_000)])
def test_a_large_request_is_charged_for_its_bytes_and_the_entries_it_may_have(
    pipeline: Pipeline, budget: Budget, answer: Pending[Answer], entries: int
) -> None:
    """Members that join are a few entries of megabytes, and wait for others whose bytes must have room."""
    pipeline.started(ask(size=1 << 20), answer)
    assert pipeline.budgeted == budget.used == (2 << 20) + entries * ENTRY
    pipeline.abandon()
    assert budget.used == 0
