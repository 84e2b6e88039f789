"""From the user's request to an offset for each partition."""

from __future__ import annotations

from typing import Any

import pytest

from kgw_core.client import ClientError
from kgw_core.client.resetting import Step, Target, plan
from kgw_core.errors import LeaderNotAvailable

A, B = ("t", 0), ("t", 1)
EARLIEST, LATEST = {A: 10, B: 0}, {A: 50, B: 0}


def steps(target: Target, current: Any = None, at_time: Any = None, partitions: Any = (A,)) -> list[Step]:
    return plan(target, partitions, current or {}, EARLIEST, LATEST, at_time or {})


@pytest.mark.parametrize(
    ("target", "new", "note"),
    [
        (Target("earliest"), 10, ""),
        (Target("latest"), 50, ""),
        (Target("offset", 20), 20, ""),
        (Target("offset", 10), 10, ""),
        (Target("offset", 50), 50, ""),
        (Target("offset", 9), 10, "9 is before the beginning"),
        (Target("offset", 51), 50, "51 is beyond the end"),
        (Target("shift", 5), 35, ""),
        (Target("shift", -5), 25, ""),
        (Target("shift", -21), 10, "9 is before the beginning"),
        (Target("shift", 21), 50, "51 is beyond the end"),
        (Target("datetime", 1), 33, ""),
    ],
)
def test_each_target_has_its_offset_within_what_is_there(target: Target, new: int, note: str) -> None:
    assert steps(target, {A: 30}, {A: 33}) == [Step("t", 0, 30, new, note)]


def test_where_nothing_is_as_new_the_end_is_meant() -> None:
    (step,) = steps(Target("datetime", 1), at_time={A: -1})
    assert (step.new, step.current, step.note) == (50, None, "nothing is as new as that: the end")


def test_an_empty_partition_has_one_place() -> None:
    assert [step.new for step in steps(Target("offset", 7), partitions=[B])] == [0]


def test_each_partition_has_one_step_in_order() -> None:
    found = steps(Target("earliest"), {B: 3}, partitions=[B, A, B])
    assert found == [Step("t", 0, None, 10), Step("t", 1, 3, 0)]


def test_all_that_cannot_go_are_named() -> None:
    with pytest.raises(ClientError) as told:
        steps(Target("shift", 1), {}, partitions=[A, B])
    assert str(told.value).count("nothing is committed") == 2
    with pytest.raises(ClientError, match="t-0: LEADER"):
        plan(Target("latest"), [A], {}, {A: 0}, {A: LeaderNotAvailable("LEADER_NOT_AVAILABLE")}, {})
    with pytest.raises(ClientError, match="t-0: the broker told nothing"):
        plan(Target("latest"), [A], {}, {A: 0}, {}, {})
