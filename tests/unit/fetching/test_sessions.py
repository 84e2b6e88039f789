"""The rules of fetch sessions, without a broker."""

from __future__ import annotations

from typing import Any

import pytest

from kgw_core.errors import FetchSessionIdNotFound, FetchSessionTopicIdError, InvalidFetchSessionEpoch
from kgw_core.fetching.part import Part
from kgw_core.fetching.sessions import EVICTION_SECONDS, LAST_EPOCH, FetchSession, FetchSessions
from kgw_core.wire.messages.fetch import FetchPartition, FetchTopic, ForgottenTopic, PartitionData

OLD = EVICTION_SECONDS + 1


def parts_of(size: int) -> dict[Any, Part]:
    return {("t", index): Part("t", FetchPartition(index)) for index in range(size)}


def topics_of(*partitions: int, topic: str = "t") -> list[FetchTopic]:
    return [FetchTopic(topic, partitions=[FetchPartition(index) for index in partitions])]


def resume(
    sessions: FetchSessions, id: int, epoch: int, now: float = 0, by_id: bool = False, **changes: Any
) -> FetchSession | None:
    return sessions.resume(id, epoch, by_id, changes.get("topics", ()), changes.get("forgotten", ()), now)


def test_ids_are_random_and_above_zero() -> None:
    sessions = FetchSessions()
    ids = [sessions.begin(False, parts_of(1), 0) for _ in range(200)]
    assert len(set(ids)) == len(sessions) == sessions.begun == sessions.partitions == 200
    assert all(0 < id < 2**31 for id in ids)
    assert ids != sorted(ids)


def test_epochs_go_up_by_one_and_wrap_to_one() -> None:
    sessions = FetchSessions()
    id = sessions.begin(False, parts_of(1), 0)
    for epoch in (1, 2, 3):
        session = resume(sessions, id, epoch)
        assert session is not None and session.epoch == epoch + 1
    session.epoch = LAST_EPOCH
    assert resume(sessions, id, LAST_EPOCH) is session
    assert session.epoch == 1


@pytest.mark.parametrize("epoch", [-2, 2, LAST_EPOCH])
def test_another_epoch_is_an_error_and_changes_nothing(epoch: int) -> None:
    sessions = FetchSessions()
    id = sessions.begin(False, parts_of(1), 0)
    with pytest.raises(InvalidFetchSessionEpoch):
        resume(sessions, id, epoch, topics=topics_of(7))
    session = resume(sessions, id, 1)
    assert session is not None and len(session.parts) == 1


@pytest.mark.parametrize("id", [0, -1, 2**31 - 1])
def test_an_id_that_is_not_there(id: int) -> None:
    with pytest.raises(FetchSessionIdNotFound):
        resume(FetchSessions(), id, 1)


@pytest.mark.parametrize("by_id", [True, False])
def test_names_and_ids_do_not_mix(by_id: bool) -> None:
    sessions = FetchSessions()
    id = sessions.begin(by_id, parts_of(1), 0)
    with pytest.raises(FetchSessionTopicIdError):
        resume(sessions, id, 1, by_id=not by_id)
    assert resume(sessions, id, 1, by_id=by_id) is not None


def test_partitions_are_added_changed_and_forgotten_in_order() -> None:
    sessions = FetchSessions()
    id = sessions.begin(False, parts_of(3), 0)
    changed = FetchPartition(1, fetch_offset=9)
    session = resume(
        sessions,
        id,
        1,
        topics=[FetchTopic("t", partitions=[changed, FetchPartition(5)])],
        forgotten=[ForgottenTopic("t", partitions=[0, 44]), ForgottenTopic("none", partitions=[1])],
    )
    assert session is not None
    assert [part.asked.partition for part in session.parts.values()] == [1, 2, 5]
    assert session.parts["t", 1].asked is changed
    assert sessions.partitions == 3
    session.move_to_end(session.parts["t", 1])
    assert [part.asked.partition for part in session.parts.values()] == [2, 5, 1]


def test_a_session_without_partitions_ends() -> None:
    sessions = FetchSessions()
    id = sessions.begin(False, parts_of(2), 0)
    assert resume(sessions, id, 1, forgotten=[ForgottenTopic("t", partitions=[0, 1])]) is None
    assert len(sessions) == sessions.partitions == 0


def test_no_room() -> None:
    sessions = FetchSessions(max_sessions=0)
    assert sessions.begin(False, parts_of(1), 0) == 0
    sessions = FetchSessions(max_sessions=1)
    assert sessions.begin(False, parts_of(1), 0)
    assert sessions.begin(False, parts_of(100), 0) == 0
    assert sessions.begin(False, parts_of(100), EVICTION_SECONDS) == 0
    assert (len(sessions), sessions.evicted, sessions.partitions) == (1, 0, 1)


def test_the_least_recently_used_is_evicted_when_stale() -> None:
    sessions = FetchSessions(max_sessions=2)
    first, second = (sessions.begin(False, parts_of(9), now) for now in (0, 1))
    resume(sessions, first, 1, now=2)
    new = sessions.begin(False, parts_of(1), 1 + OLD)  # one partition drives out nine: they are stale
    assert new and sessions.get(second) is None and sessions.get(first) is not None
    assert sessions.evicted == 1


def test_a_larger_session_evicts_the_smallest_old_one() -> None:
    sessions = FetchSessions(max_sessions=3)
    ids = {size: sessions.begin(False, parts_of(size), 0) for size in (3, 2, 5)}
    assert sessions.begin(False, parts_of(9), OLD - 2) == 0, "none of them is old enough"
    for id in ids.values():
        resume(sessions, id, 1, now=OLD)
    assert sessions.begin(False, parts_of(2), OLD) == 0, "as many partitions are not more"
    new = sessions.begin(False, parts_of(3), OLD)
    assert new and sessions.get(ids[2]) is None
    assert sessions.begin(False, parts_of(3), OLD) == 0, "the new one is not old enough, the rest not smaller"
    resume(sessions, ids[5], 2, now=OLD, forgotten=[ForgottenTopic("t", partitions=[0, 1, 2, 3])])
    assert sessions.begin(False, parts_of(2), OLD) and sessions.get(ids[5]) is None
    assert (len(sessions), sessions.partitions) == (3, 3 + 3 + 2)
    for id in (ids[3], new):
        sessions.close(id)
        sessions.close(id)
    assert (len(sessions), sessions.partitions) == (1, 2)


def test_partitions_of_all_sessions_are_bounded() -> None:
    sessions = FetchSessions(max_partitions=10)
    assert sessions.begin(False, parts_of(11), 0) == 0
    first = sessions.begin(False, parts_of(6), 0)
    assert sessions.begin(False, parts_of(5), 0) == 0
    second = sessions.begin(False, parts_of(4), OLD - 2)
    assert first and second
    with pytest.raises(FetchSessionIdNotFound, match="max_fetch_session_partitions"):
        resume(sessions, second, 1, now=OLD, topics=topics_of(*range(5)))
    assert sessions.get(second) is None and sessions.partitions == 6
    assert sessions.begin(False, parts_of(5), OLD), "the first is stale"
    assert sessions.get(first) is None and sessions.partitions == 5


def answer(error: int = 0, end: int = 5, start: int = 0, records: Any = b"") -> PartitionData:
    return PartitionData(0, error, end, end, start, records=records)


@pytest.mark.parametrize(
    ("before", "now", "is_news"),
    [
        (None, answer(), True),
        (answer(), answer(), False),
        (answer(), answer(records=[b"x"]), True),
        (answer(), answer(end=6), True),
        (answer(), answer(start=1), True),
        (answer(), answer(6, -1, -1), True),
        (answer(6, -1, -1), answer(6, -1, -1), True),
        (answer(6, -1, -1), answer(), True),
    ],
)
def test_news(before: PartitionData | None, now: PartitionData, is_news: bool) -> None:
    part = Part("t", FetchPartition(0, fetch_offset=5))
    if before is not None:
        part.sent(before)
    assert part.is_news(now) is is_news


def test_quiet_is_where_nothing_can_be_read_or_told() -> None:
    part = Part("t", FetchPartition(0, fetch_offset=5))
    for now, quiet in (
        (answer(), 5),
        (answer(end=6), -1),
        (answer(records=[b"x"]), -1),
        (answer(6, -1, -1), -1),
    ):
        part.sent(now)
        assert part.quiet == quiet
