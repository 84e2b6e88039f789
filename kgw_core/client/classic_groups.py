"""DescribeGroups: groups whose members share their partitions by JoinGroup and SyncGroup."""

from __future__ import annotations

from typing import Any, NamedTuple

from kgw_core.client.cluster import Client, Node
from kgw_core.client.failures import check
from kgw_core.client.offsets import Partition
from kgw_core.errors import GroupIdNotFound
from kgw_core.groups.subscriptions import CONSUMER, assignment
from kgw_core.wire import MalformedMessage
from kgw_core.wire.messages.describe_groups import DescribeGroupsRequest

DEAD = "Dead"


class Member(NamedTuple):
    """A member; ``partitions`` is None where its assignment is not that of a consumer."""

    id: str
    instance_id: str | None
    client_id: str
    host: str
    partitions: list[Partition] | None


class Described(NamedTuple):
    """A group. ``protocol`` is what its members agreed on, such as an assignor; may be empty."""

    group: str
    type: str
    state: str
    protocol_type: str
    protocol: str
    coordinator: Node
    members: list[Member]


async def describe(client: Client, group: str, node: Node) -> Described:
    """Ask its coordinator. :raises GroupIdNotFound: it has no such classic group. :raises KafkaError:"""
    (told,) = (await client.ask(DescribeGroupsRequest([group]), node)).groups
    check(told.error_code, told.error_message or f"group {group}")
    if told.group_state == DEAD:  # before v6 the only sign that it is not there
        raise GroupIdNotFound(f"GROUP_ID_NOT_FOUND: group {group} not found")
    members = [_member(member, told.protocol_type) for member in told.members]
    return Described(
        group, "classic", told.group_state, told.protocol_type, told.protocol_data, node, sorted(members)
    )


def _member(told: Any, protocol_type: str) -> Member:
    partitions: list[Partition] | None = None
    if protocol_type == CONSUMER:
        try:
            topics = assignment(bytes(told.member_assignment)).assigned_partitions
        except MalformedMessage:
            pass  # a consumer with an assignor of its own
        else:
            partitions = sorted((topic.topic, index) for topic in topics for index in topic.partitions)
    return Member(told.member_id, told.group_instance_id, told.client_id, told.client_host, partitions)
