"""What a group may be told: its record has to fit into a value of the state, 16 MiB, and who brings too much
is refused, alone."""

from __future__ import annotations

from typing import Any

import pytest
from groups_kit import RANGE, Driver, Token, name_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kgw_core.errors import KafkaError
from kgw_core.groups.events import Joined, Synced
from kgw_core.groups.group import Group, Member
from kgw_core.groups.records import GroupRecord, MemberRecord, PutGroup, encode
from kgw_core.groups.sizes import MOST_GROUP_ID, member_size
from kgw_core.spi.state import MOST_KEY, MOST_VALUE

MiB = 1 << 20
TEXT = st.text(max_size=20) | st.sampled_from(["x" * 300, "😀" * 70_000])
MEMBERS = st.builds(
    MemberRecord,
    id=TEXT,
    instance_id=st.none() | TEXT,
    client_id=TEXT,
    client_host=TEXT,
    session_ms=st.integers(0, 2**31 - 1),
    rebalance_ms=st.integers(0, 2**31 - 1),
    protocols=st.lists(st.tuples(TEXT, st.binary(max_size=70_000)), max_size=5).map(tuple),
    assignment=st.binary(max_size=300),
)


def subscribing_much(size: int, fill: bytes = b"t") -> tuple[tuple[str, bytes], ...]:
    return (("range", fill * size),)


def told(token: Token) -> str:
    answer = token.answer
    assert isinstance(answer, Joined | Synced)
    return name_of(answer.error)


def largest(driver: Driver) -> int:
    return max(map(len, driver.store.values()))


@given(members=st.lists(MEMBERS, max_size=4), texts=st.tuples(TEXT, TEXT, TEXT))
@settings(max_examples=200, deadline=None)
def test_no_record_is_larger_than_its_size_says(members: list[MemberRecord], texts: Any) -> None:
    record = GroupRecord("Stable", 2**31 - 1, *texts, 2**63 - 1, tuple(members))
    _, value = encode(PutGroup("g", record))
    assert value is not None
    most = 128 + sum(5 + 4 * len(text) for text in texts)
    most += sum(member_size(member) + len(member.assignment) for member in members)
    assert len(value) <= most


@given(st.data())
def test_the_size_of_a_group_is_that_of_its_members(data: Any) -> None:
    """A member joins, leaves, changes or gets another name."""
    group = Group("g")
    for number in range(data.draw(st.integers(0, 12))):
        known = list(group.members.values())
        if not known or data.draw(st.booleans()):
            record = data.draw(MEMBERS)
            group.add(Member("g", MemberRecord(f"m{number}", *encode_free(record))))
            continue
        member = data.draw(st.sampled_from(known))
        match data.draw(st.integers(0, 3)):
            case 0:
                group.remove(member)
            case 1:
                group.set_protocols(member, data.draw(MEMBERS).protocols)
            case 2:
                group.rename(member, f"another {number}")
                group.set_protocols(member, member.protocols)
            case _:
                kept = tuple(each.record(b"assigned") for each in known if each is not member)
                group.take(GroupRecord("Stable", number, "consumer", "range", None, 0, kept))
        assert group.size == sum(map(member_size, group.members.values()))


def encode_free(record: MemberRecord) -> tuple[Any, ...]:
    return (
        record.instance_id,
        record.client_id,
        record.client_host,
        record.session_ms,
        record.rebalance_ms,
        record.protocols,
        record.assignment,
    )


class TestJoin:
    def test_a_new_member_that_brings_too_much_is_refused_and_the_others_go_on(self) -> None:
        driver = Driver()
        leader, follower = driver.stable(protocols=subscribing_much(6 * MiB))
        refused = driver.join(client="third", protocols=subscribing_much(5 * MiB))
        assert told(refused) == "GROUP_MAX_SIZE_REACHED"
        assert "with the 5242880 bytes of this member's metadata" in str(refused.answer.error)
        assert driver.state == "Stable"
        assert [driver.heartbeat(member, 1) for member in (leader, follower)] == ["NONE"] * 2
        assert largest(driver) <= MOST_VALUE
        assert driver.replayed()["g"][0] == driver.group().stored_record()
        driver.join(client="fourth", protocols=subscribing_much(3 * MiB))
        assert driver.state == "PreparingRebalance"

    def test_the_first_one_too(self) -> None:
        driver = Driver()
        assert told(driver.join(protocols=subscribing_much(17 * MiB))) == "GROUP_MAX_SIZE_REACHED"
        assert driver.state == "none"
        assert not driver.store

    def test_one_that_was_given_its_id_before(self) -> None:
        driver = Driver()
        driver.stable(protocols=subscribing_much(6 * MiB))
        asked = driver.join(client="third", needs_id=True)
        assert told(asked) == "MEMBER_ID_REQUIRED"
        refused = driver.join(asked.answer.member_id, protocols=subscribing_much(5 * MiB))
        assert told(refused) == "GROUP_MAX_SIZE_REACHED"
        assert not driver.group().pending

    def test_a_member_that_comes_again_with_too_much_is_out(self) -> None:
        driver = Driver()
        leader, follower = driver.stable(protocols=subscribing_much(6 * MiB))
        refused = driver.join(follower, protocols=subscribing_much(11 * MiB))
        assert told(refused) == "GROUP_MAX_SIZE_REACHED"
        assert list(driver.group().members) == [leader]
        again = driver.join(leader, protocols=subscribing_much(6 * MiB))
        (answer,) = driver.joined(again)
        assert [member.id for member in answer.members] == [leader]

    def test_one_that_comes_again_with_less_is_welcome(self) -> None:
        driver = Driver()
        _, follower = driver.stable(protocols=subscribing_much(7 * MiB))
        driver.join(follower, protocols=subscribing_much(6 * MiB))
        assert driver.state == "PreparingRebalance"

    def test_a_static_member_that_was_restarted(self) -> None:
        """It would take over an assignment, for which there is no room beside what it says."""
        driver = Driver()
        member = driver.members(1, instance="i", protocols=subscribing_much(2 * MiB))[0]
        assert told(driver.sync(member, 1, {member: b"a" * (10 * MiB)}, instance="i")) == "NONE"
        before = driver.replayed()
        refused = driver.join(instance="i", protocols=subscribing_much(7 * MiB))
        assert told(refused) == "GROUP_MAX_SIZE_REACHED"
        assert driver.replayed() == before
        assert driver.state == "Stable"

    def test_a_group_that_was_kept_larger_goes_on_with_those_that_fit(self) -> None:
        """From a time when nothing was refused."""
        driver = Driver()
        members = tuple(
            MemberRecord(f"m{n}", None, "c", "/host", 10_000, 30_000, subscribing_much(6 * MiB), b"")
            for n in range(3)
        )
        key, value = encode(PutGroup("g", GroupRecord("Stable", 7, "consumer", "range", "m0", 0, members)))
        assert value is not None
        assert len(value) > MOST_VALUE
        driver.store[key] = value
        driver.crash()
        tokens = [driver.join(f"m{n}", protocols=subscribing_much(6 * MiB)) for n in range(3)]
        assert [told(token) for token in tokens] == ["NONE", "NONE", "GROUP_MAX_SIZE_REACHED"]
        assert driver.group().generation == 8
        assert largest(driver) <= MOST_VALUE


class TestSync:
    def test_a_leader_that_assigns_too_much_is_told_and_may_come_again(self) -> None:
        driver = Driver()
        leader, follower = driver.members()
        waiting = driver.sync(follower, 1)
        refused = driver.sync(leader, 1, {leader: b"a" * (9 * MiB), follower: b"a" * (9 * MiB)})
        assert told(refused) == "UNKNOWN_SERVER_ERROR"
        assert "18874368 bytes of assignments" in str(refused.answer.error)
        assert waiting.waits
        assert driver.state == "CompletingRebalance"
        assert told(driver.sync(leader, 1, {leader: b"l", follower: b"f"})) == "NONE"
        assert waiting.answer.assignment == b"f"
        assert largest(driver) <= MOST_VALUE

    def test_one_that_does_not_is_out_when_its_time_is_up(self) -> None:
        driver = Driver()
        leader, follower = driver.members()
        waiting = driver.sync(follower, 1)
        driver.sync(leader, 1, {leader: b"a" * (17 * MiB)})
        while waiting.waits:
            driver.advance(5_000)
            driver.heartbeat(leader, 1)
        assert told(waiting) == "REBALANCE_IN_PROGRESS"
        assert list(driver.group().members) == [follower]


class TestIds:
    @pytest.mark.parametrize("id", ["x" * (MOST_GROUP_ID + 1), "😀" * (MOST_GROUP_ID // 4 + 1)])
    def test_one_that_is_too_long_to_be_kept_is_refused(self, id: str) -> None:
        driver = Driver()
        assert told(driver.join(group=id)) == "INVALID_GROUP_ID"
        commit = driver.offset_commit(1, group=id)
        assert isinstance(commit.answer, KafkaError)
        assert commit.answer.name == "INVALID_GROUP_ID"
        assert not driver.coordinator.groups

    def test_the_longest_one_is_kept(self) -> None:
        driver = Driver()
        id = "x" * MOST_GROUP_ID
        assert driver.offset_commit(1, group=id, topic="t" * 249).answer is None
        driver.join(group=id, protocols=RANGE)
        driver.advance(0)
        assert max(map(len, driver.store)) <= MOST_KEY
        driver.crash()
        assert driver.offset(topic="t" * 249, group=id) == 1
