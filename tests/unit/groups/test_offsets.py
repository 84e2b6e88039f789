"""Committed offsets: who may commit, which are kept, and when they expire."""

from __future__ import annotations

import pytest
from groups_kit import EPOCH, Driver, committed, name_of, subscribing

from kgw_core.errors import GroupIdNotFound, KafkaStorageError, NonEmptyGroup
from kgw_core.groups.records import Committed, DropOffset, GroupRecord, PutGroup, decode, encode
from kgw_core.groups.subscriptions import assignment, subscription, topics_of
from kgw_core.wire import MalformedMessage

DAY = 86_400_000
WEEK = 7 * DAY


def test_what_a_member_commits_is_there_once_it_is_written() -> None:
    driver = Driver()
    _, follower = driver.stable()
    driver.hold = True
    token = driver.offset_commit(5, follower, 1)
    assert token.waits
    assert driver.offset() is None
    driver.commit()
    assert token.answer is None
    assert driver.offset() == 5


def test_commits_apply_in_the_order_in_which_they_came() -> None:
    driver = Driver(hold=True)
    tokens = [driver.offset_commit(offset) for offset in (5, 7, 6)]
    driver.commit()
    assert [token.answer for token in tokens] == [None] * 3
    assert driver.offset() == 6


def test_a_commit_that_cannot_be_written_changes_nothing() -> None:
    driver = Driver()
    driver.offset_commit(5)
    driver.hold = True
    token = driver.offset_commit(6)
    driver.commit_one(KafkaStorageError("disk full"))
    assert name_of(token.answer) == "NOT_COORDINATOR"
    assert driver.offset() == 5


def test_a_commit_of_many_partitions_is_one_write() -> None:
    driver = Driver(hold=True)
    driver.offset_commit(5, partitions=range(500))
    assert [len(write.records) for write in driver.writes] == [500]


def test_members_of_the_last_generation_may_commit_while_the_next_is_prepared() -> None:
    driver = Driver()
    leader, follower = driver.stable()
    driver.join(client="third")
    assert driver.offset_commit(5, follower, 1).answer is None
    driver.join(leader)
    assert driver.offset_commit(6, follower, 1).answer is None
    driver.join(follower)
    assert name_of(driver.offset_commit(7, follower, 1).answer) == "ILLEGAL_GENERATION"
    assert name_of(driver.offset_commit(7, follower, 2).answer) == "REBALANCE_IN_PROGRESS"


@pytest.mark.parametrize(("tells", "told"), [(True, "GROUP_ID_NOT_FOUND"), (False, "ILLEGAL_GENERATION")])
def test_a_member_of_a_group_that_is_not_there_is_told_so(tells: bool, told: str) -> None:
    assert name_of(Driver().offset_commit(5, "m", 1, tells_unknown=tells).answer) == told


def test_a_group_may_have_the_empty_id_where_it_only_keeps_offsets() -> None:
    driver = Driver()
    driver.offset_commit(5, group="")
    assert driver.offset(group="") == 5
    driver.delete("")
    assert driver.offset(group="") is None


def test_everything_is_there_after_a_crash() -> None:
    driver = Driver()
    _, follower = driver.stable()
    driver.offset_commit(5, follower, 1, metadata="täxt", leader_epoch=3)
    driver.offset_commit(6, group="simple", partitions=[1, 2])
    driver.crash()
    assert driver.group().offsets["t"][0] == committed(
        5, metadata="täxt", leader_epoch=3, time_ms=EPOCH + driver.ms
    )
    assert driver.offset(partition=2, group="simple") == 6


# -- deleting


def test_offsets_of_topics_that_nobody_subscribes_to_can_be_deleted() -> None:
    driver = Driver()
    _, follower = driver.stable()
    driver.offset_commit(5, follower, 1)
    driver.offset_commit(5, follower, 1, topic="old")
    token = driver.token("delete offsets")
    effects, subscribed = driver.coordinator.commits.delete("g", [("t", 0), ("old", 0), ("old", 9)], token)
    driver.run(effects)
    assert subscribed == {"t"}
    assert token.answer is None
    assert (driver.offset(), driver.offset("old")) == (5, None)


def test_groups_that_are_no_consumers_keep_their_offsets() -> None:
    driver = Driver()
    driver.stable(protocol_type="connect")
    with pytest.raises(NonEmptyGroup):
        driver.coordinator.commits.delete("g", [("t", 0)], None)
    with pytest.raises(GroupIdNotFound):
        driver.coordinator.commits.delete("other", [("t", 0)], None)


def test_a_group_that_is_deleted_is_gone_with_its_offsets() -> None:
    driver = Driver()
    driver.offset_commit(5, partitions=[0, 1])
    assert driver.delete().answer is None
    assert driver.state == "none"
    assert driver.store == {}
    assert name_of(driver.delete().answer) == "GROUP_ID_NOT_FOUND"


def test_a_commit_under_way_does_not_outlive_its_group() -> None:
    driver = Driver()
    driver.offset_commit(5)
    driver.hold = True
    late = driver.offset_commit(6, partitions=[1])
    deleting = driver.delete()
    assert name_of(driver.offset_commit(7).answer) == "COORDINATOR_NOT_AVAILABLE"
    joining = driver.join()
    driver.commit()
    assert late.answer is None
    assert deleting.answer is None
    assert driver.store == {}
    driver.advance(0)
    driver.commit()
    assert joining.answer.generation == 1


def test_offsets_of_a_deleted_topic_are_dropped_everywhere() -> None:
    driver = Driver()
    for group in ("g", "h"):
        driver.offset_commit(5, group=group, partitions=[0, 1])
        driver.offset_commit(5, group=group, topic="other")
    driver.hold = True
    driver.offset_commit(9, partitions=[2])
    driver.run(driver.coordinator.commits.topic_deleted("t", range(3), lambda: None))
    driver.commit()
    for group in ("g", "h"):
        assert {topic for topic, _, _ in driver.group(group).each_offset()} == {"other"}
    driver.crash()
    assert driver.offset() is None


# -- expiry


def expire(driver: Driver) -> None:
    for group in list(driver.coordinator.groups):
        driver.run(driver.coordinator.expire(group, driver.now))


def test_an_empty_group_keeps_its_offsets_for_a_week_then_is_gone() -> None:
    driver = Driver()
    (member,) = driver.stable(1)
    driver.offset_commit(5, member, 1)
    driver.advance(1_000)
    driver.leave(member)
    driver.advance(WEEK - 1)
    expire(driver)
    assert driver.offset() == 5
    driver.advance(1)
    expire(driver)
    assert driver.state == "none"
    assert driver.store == {}


def test_a_live_group_loses_only_what_it_no_longer_subscribes_to() -> None:
    driver = Driver()
    (member,) = driver.stable(1)
    driver.offset_commit(5, member, 1)
    driver.offset_commit(5, member, 1, topic="old")
    for _ in range(int(WEEK / 1_800_000) + 1):
        driver.ms += 1_800_000
        driver.heartbeat(member, 1)
    expire(driver)
    assert (driver.offset(), driver.offset("old")) == (5, None)
    assert driver.state == "Stable"


@pytest.mark.parametrize("protocols", [(("range", b"\xff"),), (("range", b""),)])
def test_a_group_whose_subscriptions_cannot_be_read_loses_nothing(
    protocols: tuple[tuple[str, bytes]],
) -> None:
    driver = Driver()
    (member,) = driver.stable(1, protocols=protocols)
    driver.offset_commit(5, member, 1, topic="old")
    driver.ms += 2 * WEEK
    expire(driver)
    assert driver.offset("old") == 5


def test_a_simple_group_loses_each_offset_a_week_after_its_commit() -> None:
    driver = Driver()
    driver.offset_commit(5)
    driver.advance(DAY)
    driver.offset_commit(6, partitions=[1])
    driver.advance(6 * DAY)
    expire(driver)
    assert (driver.offset(), driver.offset(partition=1)) == (None, 6)
    driver.advance(DAY)
    expire(driver)
    assert driver.state == "none"


def test_a_retention_that_the_client_asked_for_counts_instead() -> None:
    driver = Driver()
    driver.offset_commit(5, expires_ms=EPOCH + driver.ms + 1_000)
    driver.offset_commit(5, partitions=[1], expires_ms=EPOCH + driver.ms + 2 * WEEK)
    driver.advance(1_000)
    expire(driver)
    assert driver.offset() is None
    driver.advance(WEEK + DAY)
    expire(driver)
    assert driver.offset(partition=1) == 5


def test_nothing_expires_while_a_commit_is_under_way() -> None:
    driver = Driver()
    driver.offset_commit(5)
    driver.advance(WEEK)
    driver.hold = True
    driver.offset_commit(6)
    expire(driver)
    driver.commit()
    assert driver.offset() == 6


def test_offsets_of_open_transactions_have_their_place() -> None:
    driver = Driver()
    driver.offset_commit(5)
    group = driver.group()
    group.transactions[7] = {("t", 0): committed(9)}
    assert group.has_pending_offset("t", 0)
    driver.advance(WEEK)
    expire(driver)
    assert driver.offset() == 5
    driver.coordinator.apply(DropOffset("g", "t", 0))
    assert not group.has_pending_offset("t", 0)


# -- records and what is in them


@pytest.mark.parametrize(
    ("group", "topic"), [("g", "t"), ("", "t"), ("gg", "t"), ("g", "gt"), ("gr\x00üp", "t" * 249)]
)
def test_a_record_is_what_it_was(group: str, topic: str) -> None:
    from groups_kit import Driver

    driver = Driver()
    driver.offset_commit(5, group=group, topic=topic, partitions=[2**31 - 1], metadata="m", expires_ms=3)
    ((key, value),) = driver.store.items()
    record = decode(key, value)
    assert encode(record) == (key, value)
    assert record[:3] == (group, topic, 2**31 - 1)


def test_a_record_of_a_newer_version_is_read() -> None:
    import msgspec

    place = committed(5)
    newer = msgspec.msgpack.encode([*msgspec.structs.astuple(place), "new field"])
    key, _ = encode(DropOffset("g", "t", 1))
    assert decode(key, newer)[3] == place
    assert isinstance(place, Committed)


@pytest.mark.parametrize("key", [b"groups/o/", b"groups/o/\x00\x09g", b"other/"])
def test_what_is_no_record_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="key"):
        decode(key, b"\x90")


def test_an_empty_group_subscribes_to_nothing() -> None:
    driver = Driver()
    empty = GroupRecord("Empty", 3, "consumer", None, None, 0, ())
    driver.coordinator.apply(PutGroup("g", empty))
    assert driver.group().subscribed() == frozenset()
    assert not driver.group().is_subscribed_to("t")


@pytest.mark.parametrize("version", [0, 1, 2, 3, 9])
def test_subscriptions_of_every_version_are_read_and_newer_ones_too(version: int) -> None:
    metadata = version.to_bytes(2, "big") + subscribing("t", "u", version=min(version, 3))[2:]
    if version > 3:
        metadata += b"what a newer version adds"
    assert subscription(metadata).topics == ["t", "u"]
    assert topics_of([metadata, subscribing("v")]) == {"t", "u", "v"}


def test_what_is_no_subscription_or_assignment_is_told() -> None:
    assert topics_of([subscribing("t"), b"\x00"]) is None
    with pytest.raises(MalformedMessage):
        subscription(b"\xff\xff")
    with pytest.raises(MalformedMessage):
        assignment(b"\x00\x00\x00")
    assert assignment(b"").assigned_partitions == []
