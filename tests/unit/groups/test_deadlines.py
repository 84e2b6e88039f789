"""Deadlines that are moved more often than they are met."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kgw_core.groups.deadlines import NEVER, Deadline, Deadlines


def test_moving_a_deadline_back_leaves_the_heap_alone() -> None:
    deadlines, deadline = Deadlines(), Deadline()
    deadlines.set(deadline, 10)
    for when in range(11, 1_000):
        deadlines.set(deadline, when)
    assert len(deadlines) == 1
    assert deadlines.next() == 10
    assert list(deadlines.due(998)) == []
    assert deadlines.next() == 999
    assert list(deadlines.due(999)) == [deadline]
    assert (len(deadlines), deadline.when) == (0, NEVER)


def test_a_deadline_may_be_moved_forward_and_cancelled() -> None:
    deadlines, deadline = Deadlines(), Deadline()
    deadlines.set(deadline, 10)
    deadlines.set(deadline, 5)
    assert list(deadlines.due(5)) == [deadline]
    assert list(deadlines.due(10)) == []
    deadlines.set(deadline, 20)
    deadline.when = NEVER
    assert list(deadlines.due(20)) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30), st.integers(0, 5))))
def test_every_deadline_comes_at_its_time(steps: list[tuple[int, int, int]]) -> None:
    deadlines, those, now = Deadlines(), [Deadline() for _ in range(5)], 0
    model: dict[int, int] = {}
    for index, after, pause in steps:
        deadlines.set(those[index], now + after)
        model[index] = now + after
        now += pause
        due = {those.index(deadline) for deadline in deadlines.due(now)}
        assert due == {index for index, when in model.items() if when <= now}
        model = {index: when for index, when in model.items() if when > now}
        assert deadlines.next() <= min(model.values(), default=NEVER)
