"""Requests about groups: list, describe, delete, and read or change their committed offsets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kgw_core.client import classic_groups, consumer_groups
from kgw_core.client.classic_groups import Described, Member
from kgw_core.client.cluster import Client, Node
from kgw_core.client.failures import check, refusal
from kgw_core.client.offsets import Partition, for_all
from kgw_core.errors import GroupIdNotFound, KafkaError
from kgw_core.wire.messages.delete_groups import DeleteGroupsRequest
from kgw_core.wire.messages.list_groups import ListGroupsRequest
from kgw_core.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from kgw_core.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchRequestGroup

__all__ = [
    "Committed", "Described", "Listed", "Member", "commit", "committed", "delete", "describe", "list_groups",
]  # fmt: skip

BY_NAME = 9
"""The last version of OffsetFetch and OffsetCommit with topic names; later ones have topic ids."""

SEVERAL = 8


class Listed(NamedTuple):
    """A group in a list. ``state`` and ``type`` are empty if the broker is too old to send them."""

    group: str
    type: str
    protocol_type: str
    state: str
    coordinator: int


class Committed(NamedTuple):
    """A committed offset of a group."""

    offset: int
    leader_epoch: int
    metadata: str


async def list_groups(client: Client) -> list[Listed]:
    """All groups of all brokers, sorted by name.

    :raises KafkaError: a broker answered with an error.
    :raises ClientError: a broker cannot be reached.
    """
    found: list[Listed] = []

    async def ask(node: Node) -> None:
        async def attempt() -> None:
            answer = await client.ask(ListGroupsRequest(), node)
            check(answer.error_code, f"from {node}")
            found.extend(
                Listed(one.group_id, one.group_type, one.protocol_type, one.group_state, node.id)
                for one in answer.groups
            )

        await client.retried(attempt)

    await for_all(await client.nodes(), ask)
    return sorted(found)


async def describe(client: Client, group: str) -> Described:
    """Describe a classic or consumer group.

    :raises GroupIdNotFound: there is no such group, or this client does not know its type.
    :raises KafkaError: a broker answered with another error.
    :raises ClientError: a broker cannot be reached.
    """

    async def attempt() -> Described:
        node = (await client.coordinators([group]))[group]
        try:
            return await classic_groups.describe(client, group, node)
        except GroupIdNotFound:
            if not await client.serves("ConsumerGroupDescribe", node):
                raise
        return await consumer_groups.describe(client, group, node)

    return await client.retried(attempt)


async def committed(client: Client, group: str) -> dict[Partition, Committed]:
    """All committed offsets of the group.

    :raises KafkaError: a broker answered with an error.
    :raises ClientError: a broker cannot be reached.
    """

    async def attempt() -> dict[Partition, Committed]:
        node = (await client.coordinators([group]))[group]
        several = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group, topics=None)])
        if await client.version(several, node, BY_NAME) >= SEVERAL:
            answer = (await client.ask(several, node, BY_NAME)).groups[0]
        else:
            answer = await client.ask(OffsetFetchRequest(group, None), node, SEVERAL - 1)
        check(answer.error_code, f"group {group}")
        found = {}
        for topic in answer.topics:
            for part in topic.partitions:
                check(part.error_code, f"group {group}, {topic.name}-{part.partition_index}")
                if part.committed_offset >= 0:
                    place = Committed(part.committed_offset, part.committed_leader_epoch, part.metadata or "")
                    found[topic.name, part.partition_index] = place
        return found

    return await client.retried(attempt)


async def commit(
    client: Client, group: str, places: Mapping[Partition, int]
) -> dict[Partition, KafkaError | None]:
    """Commit offsets of a group without members. The result has None for each partition that succeeded.

    :raises KafkaError: the whole commit failed.
    :raises ClientError: a broker cannot be reached.
    """
    topics: dict[str, list[OffsetCommitRequestPartition]] = {}
    for (topic, partition), offset in places.items():
        topics.setdefault(topic, []).append(OffsetCommitRequestPartition(partition, offset))
    request = OffsetCommitRequest(
        group, topics=[OffsetCommitRequestTopic(name, partitions=parts) for name, parts in topics.items()]
    )

    async def attempt() -> dict[Partition, KafkaError | None]:
        node = (await client.coordinators([group]))[group]
        answer = await client.ask(request, node, BY_NAME)
        outcome: dict[Partition, KafkaError | None] = {}
        for topic in answer.topics:
            for part in topic.partitions:
                error = refusal(part.error_code) if part.error_code else None
                outcome[topic.name, part.partition_index] = error
        failed = [error for error in outcome.values() if error is not None]
        if failed and len(failed) == len(outcome) and failed[0].retriable:
            raise failed[0]  # it is about the group, not about a partition
        return outcome

    return await client.retried(attempt)


async def delete(client: Client, groups: Iterable[str]) -> dict[str, KafkaError | None]:
    """Delete groups. The result has None for each group that was deleted, else the error.

    :raises ClientError: a broker cannot be reached.
    """
    outcome: dict[str, KafkaError | None] = {}

    async def one(group: str) -> None:
        async def attempt() -> None:
            node = (await client.coordinators([group]))[group]
            (result,) = (await client.ask(DeleteGroupsRequest([group]), node)).results
            check(result.error_code, result.error_message)

        try:
            await client.retried(attempt)
        except KafkaError as error:
            outcome[group] = error
        else:
            outcome[group] = None

    await for_all(dict.fromkeys(groups), one)
    return outcome
