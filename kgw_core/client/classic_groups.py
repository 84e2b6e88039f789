"""DescribeGroups: describes classic groups, which rebalance by JoinGroup and SyncGroup."""

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
    """A member. ``partitions`` is None if its assignment is not that of a consumer."""

    id: str
    instance_id: str | None
    client_id: str
    host: str
    partitions: list[Partition] | None


class Described(NamedTuple):
    """A group. ``protocol`` is the one that its members agreed on, such as an assignor; it may be empty."""

    group: str
    type: str
    state: str
    protocol_type: str
    protocol: str
    coordinator: Node
    members: list[Member]


async def describe(client: Client, group: str, node: Node) -> Described:
    """Ask the group's coordinator ``node``.

    :raises GroupIdNotFound: it has no such classic group.
    :raises KafkaError: another error of the broker.
    """
    (found,) = (await client.ask(DescribeGroupsRequest([group]), node)).groups
    check(found.error_code, found.error_message or f"group {group}")
    if found.group_state == DEAD:  # before v6 this means that there is no such group
        raise GroupIdNotFound(f"GROUP_ID_NOT_FOUND: group {group} not found")
    members = [_member(member, found.protocol_type) for member in found.members]
    return Described(
        group, "classic", found.group_state, found.protocol_type, found.protocol_data, node, sorted(members)
    )


def _member(member: Any, protocol_type: str) -> Member:
    partitions: list[Partition] | None = None
    if protocol_type == CONSUMER:
        try:
            topics = assignment(bytes(member.member_assignment)).assigned_partitions
        except MalformedMessage:
            pass  # the consumer has a custom assignor
        else:
            partitions = sorted((topic.topic, index) for topic in topics for index in topic.partitions)
    return Member(
        member.member_id, member.group_instance_id, member.client_id, member.client_host, partitions
    )
