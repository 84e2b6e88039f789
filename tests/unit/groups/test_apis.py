"""The group APIs over their whole version ranges, through the dispatcher, as bytes."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from broker_kit import Kit
from groups_kit import subscribing

from kgw_core import wire
from kgw_core.api import registry
from kgw_core.errors import error_name
from kgw_core.pending import Pending
from kgw_core.wire import index

pytestmark = pytest.mark.anyio


def versions(name: str, first: int = 0, last: int = 99) -> Any:
    api = {api.name: api for api in registry.load().values()}[name]
    return pytest.mark.parametrize(
        "version", range(max(first, api.versions[0]), min(last, api.versions[1]) + 1)
    )


def message(name: str, /, **fields: Any) -> Any:
    return wire.message(name)(**fields)


def part(request: Any, name: str, /, **fields: Any) -> Any:
    return getattr(sys.modules[type(request).__module__], name)(**fields)


def told(code: int) -> str:
    return error_name(code) if code else "NONE"


async def joined(kit: Kit, version: int, member_id: str = "", group: str = "g", **fields: Any) -> Any:
    """The answer to a JoinGroup, once the initial delay is over."""
    request = message(
        "JoinGroupRequest", group_id=group, member_id=member_id, session_timeout_ms=10_000,
        rebalance_timeout_ms=20_000, protocol_type="consumer", **fields,
    )  # fmt: skip
    request.protocols = [part(request, "JoinGroupRequestProtocol", name="range", metadata=subscribing("t"))]
    answer = kit.start(request, version)
    if isinstance(answer, Pending):
        await kit.clock.advance(3.01)
        answer = answer.result()
    return kit.decode(answer, request, version)


async def member(kit: Kit, group: str = "g", instance: str | None = None) -> str:
    """A stable group of one; its member's id."""
    answer = await joined(kit, 5, "", group=group, group_instance_id=instance)
    if answer.error_code:
        answer = await joined(kit, 5, answer.member_id, group=group, group_instance_id=instance)
    sync = message("SyncGroupRequest", group_id=group, generation_id=1, member_id=answer.member_id)
    sync.assignments = [
        part(sync, "SyncGroupRequestAssignment", member_id=answer.member_id, assignment=b"mine")
    ]
    assert (await kit.ask(sync, 0)).assignment == b"mine"
    return str(answer.member_id)


@pytest.mark.parametrize(
    "name",
    ["JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup", "OffsetCommit", "OffsetFetch", "OffsetDelete",
     "DescribeGroups", "ListGroups", "DeleteGroups", "FindCoordinator"],
)  # fmt: skip
def test_the_whole_stable_range_is_served(name: str) -> None:
    api = {api.name: api for api in registry.load().values()}[name]
    known = index.APIS[api.key]
    assert api.versions == (known.min_version, known.latest_stable)


@versions("JoinGroup")
async def test_join(kit: Kit, version: int) -> None:
    answer = await joined(kit, version)
    if version >= 4:
        assert told(answer.error_code) == "MEMBER_ID_REQUIRED"
        answer = await joined(kit, version, answer.member_id)
    assert (told(answer.error_code), answer.generation_id, answer.protocol_name) == ("NONE", 1, "range")
    assert answer.protocol_type == ("consumer" if version >= 7 else None)
    assert answer.leader == answer.member_id
    assert answer.member_id.startswith("tester-")
    assert [(one.member_id, one.metadata) for one in answer.members] == [(answer.member_id, subscribing("t"))]
    group = kit.broker.groups.find("g")
    (known,) = group.members.values()
    assert known.client_host == f"/{kit.client.host}"
    assert known.rebalance_ms == (20_000 if version else 10_000)
    refused = await joined(kit, version, "stranger")
    assert told(refused.error_code) == "UNKNOWN_MEMBER_ID"
    assert refused.protocol_name == (None if version >= 7 else "")


@versions("JoinGroup", 5)
async def test_a_static_leader_that_comes_back(kit: Kit, version: int) -> None:
    old = await member(kit, instance="i")
    answer = await joined(kit, version, group_instance_id="i")
    assert (told(answer.error_code), answer.generation_id) == ("NONE", 1)
    assert answer.skip_assignment == (version >= 9)
    assert (answer.leader == old) == (version < 9)
    again = await joined(kit, version, old, group_instance_id="i")
    assert told(again.error_code) == "FENCED_INSTANCE_ID"


@versions("SyncGroup")
async def test_sync(kit: Kit, version: int) -> None:
    member_id = await member(kit)
    request = message(
        "SyncGroupRequest", group_id="g", generation_id=1, member_id=member_id,
        protocol_type="consumer", protocol_name="range",
    )  # fmt: skip
    answer = await kit.ask(request, version)
    assert (told(answer.error_code), answer.assignment) == ("NONE", b"mine")
    assert answer.protocol_name == ("range" if version >= 5 else None)
    request.generation_id = 7
    assert told((await kit.ask(request, version)).error_code) == "ILLEGAL_GENERATION"
    if version >= 5:
        request.protocol_name = None
        assert told((await kit.ask(request, version)).error_code) == "INCONSISTENT_GROUP_PROTOCOL"


@versions("Heartbeat")
async def test_heartbeat(kit: Kit, version: int) -> None:
    member_id = await member(kit)
    request = message("HeartbeatRequest", group_id="g", generation_id=1, member_id=member_id)
    assert (await kit.ask(request, version)).error_code == 0
    request.member_id = "stranger"
    assert told((await kit.ask(request, version)).error_code) == "UNKNOWN_MEMBER_ID"


@versions("LeaveGroup")
async def test_leave(kit: Kit, version: int) -> None:
    member_id = await member(kit)
    request = message("LeaveGroupRequest", group_id="g")
    if version < 3:
        request.member_id = "stranger"
        assert told((await kit.ask(request, version)).error_code) == "UNKNOWN_MEMBER_ID"
        request.member_id = member_id
        assert (await kit.ask(request, version)).error_code == 0
    else:
        request.members = [part(request, "MemberIdentity", member_id=one) for one in ("stranger", member_id)]
        answer = await kit.ask(request, version)
        assert answer.error_code == 0
        assert [(one.member_id, told(one.error_code)) for one in answer.members] == [
            ("stranger", "UNKNOWN_MEMBER_ID"),
            (member_id, "NONE"),
        ]
    assert kit.broker.groups.find("g").state.value == "Empty"


def commit_request(version: int, topic: Any, offset: int, partitions: Any = (0,), **fields: Any) -> Any:
    request = message("OffsetCommitRequest", group_id="g", **fields)
    request.topics = [part(request, "OffsetCommitRequestTopic", name=topic.name)]
    if version >= 10:
        request.topics[0].topic_id = topic.id_bytes
    request.topics[0].partitions = [
        part(
            request, "OffsetCommitRequestPartition", partition_index=index, committed_offset=offset,
            committed_leader_epoch=3 if version >= 6 else -1, committed_metadata="text",
        )
        for index in partitions
    ]  # fmt: skip
    return request


async def fetch(
    kit: Kit, version: int, topic: Any, partitions: list[int] | None = None, group: str = "g"
) -> Any:
    """(error, partitions) of an OffsetFetch; None asks for all."""
    request = message("OffsetFetchRequest")
    if version < 8:
        request.group_id = group
        request.topics = None
        if partitions is not None:
            asked = part(request, "OffsetFetchRequestTopic", name=topic.name, partition_indexes=partitions)
            request.topics = [asked]
        answer = await kit.ask(request, version)
        return answer.error_code, [one for found in answer.topics for one in found.partitions]
    one = part(request, "OffsetFetchRequestGroup", group_id=group, topics=None)
    if partitions is not None:
        one.topics = [
            part(request, "OffsetFetchRequestTopics", name=topic.name, partition_indexes=partitions)
        ]
        if version >= 10:
            one.topics[0].topic_id = topic.id_bytes
    request.groups = [one, part(request, "OffsetFetchRequestGroup", group_id="none", topics=one.topics)]
    answer = await kit.ask(request, version)
    assert [found.group_id for found in answer.groups] == [group, "none"]
    found = answer.groups[0]
    if version >= 10:
        assert all(each.topic_id == topic.id_bytes for each in found.topics)
    else:
        assert all(each.name == topic.name for each in found.topics)
    return found.error_code, [one for each in found.topics for one in each.partitions]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x" * 4096, "NONE"),
        ("ä" * 4096, "NONE"),
        ("x" * 4097, "OFFSET_METADATA_TOO_LARGE"),
        ("\U0001f600" * 2048, "NONE"),
        ("\U0001f600" * 2048 + "x", "OFFSET_METADATA_TOO_LARGE"),
    ],
    ids=["letters", "umlauts", "letters too many", "two units each", "units too many"],
)
async def test_text_beside_an_offset_is_counted_in_units_of_utf_16(kit: Kit, text: str, code: str) -> None:
    request = commit_request(9, await kit.topic("t", 1), 5)
    request.topics[0].partitions[0].committed_metadata = text
    answer = await kit.ask(request, 9)
    assert told(answer.topics[0].partitions[0].error_code) == code


async def test_a_topic_of_which_nothing_is_committed_is_left_out(kit: Kit) -> None:
    topic = await kit.topic("t", 1)
    assert (await kit.ask(commit_request(9, topic, 5, ()), 9)).topics == []


@versions("OffsetCommit")
async def test_commit(kit: Kit, version: int) -> None:
    topic = await kit.topic("t", 2)
    answer = await kit.ask(commit_request(version, topic, 5, (0, 1, 2)), version)
    codes = [told(one.error_code) for one in answer.topics[0].partitions]
    assert codes == ["NONE", "NONE", "UNKNOWN_TOPIC_OR_PARTITION"]
    place = kit.broker.groups.find("g").offsets["t"][1]
    assert (place.offset, place.metadata, place.topic_id) == (5, "text", topic.id_bytes)
    assert place.leader_epoch == (3 if version >= 6 else -1)
    request = commit_request(version, topic, 6)
    request.topics[0].partitions[0].committed_metadata = "x" * 4_097
    answer = await kit.ask(request, version)
    assert told(answer.topics[0].partitions[0].error_code) == "OFFSET_METADATA_TOO_LARGE"
    if version >= 1:
        request = commit_request(version, topic, 6, generation_id_or_member_epoch=1, member_id="stranger")
        answer = await kit.ask(request, version)
        assert told(answer.topics[0].partitions[0].error_code) == "UNKNOWN_MEMBER_ID"
        request.group_id = "none"
        answer = await kit.ask(request, version)
        expected = "GROUP_ID_NOT_FOUND" if version >= 9 else "ILLEGAL_GENERATION"
        assert told(answer.topics[0].partitions[0].error_code) == expected
    if version >= 10:
        request.topics[0].topic_id = b"x" * 16
        answer = await kit.ask(request, version)
        assert told(answer.topics[0].partitions[0].error_code) == "UNKNOWN_TOPIC_ID"


@versions("OffsetCommit", 2, 4)
async def test_a_retention_of_the_clients_own(kit: Kit, version: int) -> None:
    topic = await kit.topic()
    await kit.ask(commit_request(version, topic, 5, retention_time_ms=1_000), version)
    assert kit.broker.groups.find("g").offsets["t"][0].expires_ms == kit.clock.time_ms() + 1_000


@versions("OffsetFetch")
async def test_fetch(kit: Kit, version: int) -> None:
    topic = await kit.topic("t", 3)
    await kit.ask(commit_request(6, topic, 5, (0, 1)), 6)
    error, partitions = await fetch(kit, version, topic, [1, 2, 9])
    assert error == 0
    assert [(one.partition_index, one.committed_offset, one.metadata) for one in partitions] == [
        (1, 5, "text"),
        (2, -1, ""),
        (9, -1, ""),
    ]
    assert partitions[0].committed_leader_epoch == (3 if version >= 5 else -1)
    assert (await fetch(kit, version, topic, [0], "none"))[1][0].committed_offset == -1
    if version >= 2:
        _, partitions = await fetch(kit, version, topic)
        assert [one.partition_index for one in partitions] == [0, 1]


@versions("OffsetFetch")
async def test_a_topic_made_again_has_none_of_the_old_ones_offsets(kit: Kit, version: int) -> None:
    """Also before they are dropped from the state."""
    topic = await kit.topic("t", 2)
    await kit.ask(commit_request(6, topic, 5, (0, 1)), 6)
    await kit.catalog.delete("t")
    again = await kit.topic("t", 2)
    assert kit.broker.groups.find("g").offsets["t"][0].offset == 5
    _, partitions = await fetch(kit, version, again, [0])
    assert [one.committed_offset for one in partitions] == [-1]
    if version >= 2:
        assert (await fetch(kit, version, again))[1] in ([], ())


@versions("OffsetFetch")
async def test_fetch_while_groups_are_loaded(kit: Kit, version: int) -> None:
    topic = await kit.topic()
    kit.broker.groups.coordinator.groups.loading = True
    error, partitions = await fetch(kit, version, topic, [0])
    if version >= 2:
        assert told(error) == "COORDINATOR_LOAD_IN_PROGRESS"
    else:
        assert told(partitions[0].error_code) == "COORDINATOR_LOAD_IN_PROGRESS"


@versions("OffsetFetch", 7)
async def test_an_offset_that_a_transaction_changes_is_not_stable(kit: Kit, version: int) -> None:
    topic = await kit.topic("t", 2)
    await kit.ask(commit_request(6, topic, 5, (0, 1)), 6)
    group = kit.broker.groups.find("g")
    group.transactions[7] = {("t", 0): group.offsets["t"][0]}
    request = message("OffsetFetchRequest", group_id="g", require_stable=True)
    if version < 8:
        request.topics = [part(request, "OffsetFetchRequestTopic", name="t", partition_indexes=[0, 1])]
        found = (await kit.ask(request, version)).topics[0].partitions
    else:
        one = part(request, "OffsetFetchRequestGroup", group_id="g", topics=None)
        request.group_id, request.groups = "", [one]
        found = (await kit.ask(request, version)).groups[0].topics[0].partitions
    assert [told(one.error_code) for one in found] == ["UNSTABLE_OFFSET_COMMIT", "NONE"]


async def test_delete_offsets(kit: Kit) -> None:
    topic, other = await kit.topic("t"), await kit.topic("other")
    member_id = await member(kit)
    for each in (topic, other):
        request = commit_request(7, each, 5, generation_id_or_member_epoch=1, member_id=member_id)
        assert (await kit.ask(request, 7)).topics[0].partitions[0].error_code == 0
    request = message("OffsetDeleteRequest", group_id="g")
    request.topics = [
        part(request, "OffsetDeleteRequestTopic", name=name, partitions=[
            part(request, "OffsetDeleteRequestPartition", partition_index=index) for index in (0, 1)
        ])
        for name in ("t", "other")
    ]  # fmt: skip
    answer = await kit.ask(request, 0)
    assert [told(one.error_code) for found in answer.topics for one in found.partitions] == [
        "GROUP_SUBSCRIBED_TO_TOPIC", "UNKNOWN_TOPIC_OR_PARTITION", "NONE", "UNKNOWN_TOPIC_OR_PARTITION",
    ]  # fmt: skip
    assert set(kit.broker.groups.find("g").offsets) == {"t"}
    request.group_id = "none"
    assert told((await kit.ask(request, 0)).error_code) == "GROUP_ID_NOT_FOUND"


@versions("DescribeGroups")
async def test_describe(kit: Kit, version: int) -> None:
    member_id = await member(kit, instance="i")
    request = message("DescribeGroupsRequest", groups=["g", "none"])
    if version >= 3:
        request.include_authorized_operations = True
    found, none = (await kit.ask(request, version)).groups
    assert (found.group_state, found.protocol_type, found.protocol_data) == ("Stable", "consumer", "range")
    (one,) = found.members
    assert (one.member_id, one.client_id, one.client_host) == (member_id, "tester", f"/{kit.client.host}")
    assert (one.member_metadata, one.member_assignment) == (subscribing("t"), b"mine")
    assert one.group_instance_id == ("i" if version >= 4 else None)
    assert (none.group_state, told(none.error_code)) == (
        "Dead",
        "GROUP_ID_NOT_FOUND" if version >= 6 else "NONE",
    )
    assert found.authorized_operations == (3400 if version >= 3 else -(1 << 31))  # as Kafka 4.3.1 has it


@versions("ListGroups")
async def test_list(kit: Kit, version: int) -> None:
    topic = await kit.topic()
    await member(kit, "stable")
    await kit.ask(commit_request(6, topic, 5), 6)

    async def listed(**filters: list[str]) -> dict[str, Any]:
        answer = await kit.ask(message("ListGroupsRequest", **filters), version)
        assert answer.error_code == 0
        return {group.group_id: group for group in answer.groups}

    groups = await listed()
    assert {name: group.protocol_type for name, group in groups.items()} == {"stable": "consumer", "g": ""}
    if version >= 4:
        assert groups["g"].group_state == "Empty"
        assert set(await listed(states_filter=["stable", "Dead"])) == {"stable"}
    if version >= 5:
        assert groups["g"].group_type == "classic"
        assert set(await listed(types_filter=["Classic"])) == {"g", "stable"}
        assert await listed(types_filter=["consumer"]) == {}
    kit.broker.groups.coordinator.groups.loading = True
    answer = await kit.ask(message("ListGroupsRequest"), version)
    assert told(answer.error_code) == "COORDINATOR_LOAD_IN_PROGRESS"


@versions("DeleteGroups")
async def test_delete(kit: Kit, version: int) -> None:
    topic = await kit.topic()
    await member(kit, "stable")
    await kit.ask(commit_request(6, topic, 5), 6)
    answer = await kit.ask(message("DeleteGroupsRequest", groups_names=["g", "stable", "none"]), version)
    assert {one.group_id: told(one.error_code) for one in answer.results} == {
        "g": "NONE",
        "stable": "NON_EMPTY_GROUP",
        "none": "GROUP_ID_NOT_FOUND",
    }


async def test_a_topic_that_is_deleted_takes_its_offsets_along(kit: Kit) -> None:
    topic = await kit.topic()
    kit.catalog.on_deleted(lambda state: kit.broker.groups.topic_deleted(state.name, state.topic.partitions))
    await kit.ask(commit_request(6, topic, 5), 6)
    await kit.catalog.delete("t")
    assert kit.broker.groups.find("g").offsets == {}


async def test_sessions_end_by_the_clock(kit: Kit) -> None:
    await member(kit)
    await kit.clock.advance(10.2)
    assert kit.broker.groups.find("g").state.value == "Empty"
    await kit.broker.groups.expire()
    request = message("ListGroupsRequest")
    assert (await kit.ask(request, 0)).groups == []
