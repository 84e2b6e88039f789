"""ListOffsets: the first and last offsets of partitions, and offsets by time, from each partition's
leader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import anyio

from kgw_core.client.cluster import Client, Node
from kgw_core.client.failures import refusal
from kgw_core.errors import KafkaError, LeaderNotAvailable, UnknownTopicOrPartition
from kgw_core.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from kgw_core.wire.messages.metadata import MetadataResponseTopic

K = TypeVar("K")
V = TypeVar("V")

Partition = tuple[str, int]
"""Topic and index."""

LATEST, EARLIEST = -1, -2
"""The timestamps that mean the end and the beginning."""

_CONSUMER = -1


async def list_offsets(client: Client, times: Mapping[Partition, int]) -> dict[Partition, int | KafkaError]:
    """The first offset at or after each partition's time, in ms since the epoch; -1 if there is none, or the
    error of the partition.

    :raises ClientError: a broker cannot be reached.
    """
    found: dict[Partition, int | KafkaError] = {}
    try:
        await client.retried(lambda: _list_offsets(client, times, found))
    except KafkaError as error:  # the timeout has passed, or no partition can be asked
        for place in times:
            found.setdefault(place, error)
    return found


async def _list_offsets(
    client: Client, times: Mapping[Partition, int], found: dict[Partition, int | KafkaError]
) -> None:
    left = [place for place in times if not isinstance(found.get(place), int)]
    leaders: dict[Node, list[Partition]] = {}
    known = await client.topics(topic for topic, _ in left)
    for place in left:
        leader = _leader(client, place, known)
        if isinstance(leader, Node):
            leaders.setdefault(leader, []).append(place)
        else:
            found[place] = leader

    async def ask(node: Node, places: list[Partition]) -> None:
        answer = await client.ask(_request(places, times), node)
        found.update(_read(answer))

    await for_all(leaders.items(), lambda item: ask(*item))
    again = [error for error in found.values() if isinstance(error, KafkaError) and error.retriable]
    again = [error for error in again if not isinstance(error, UnknownTopicOrPartition)]
    if again:
        raise again[0]


def _leader(
    client: Client, place: Partition, known: Mapping[str, MetadataResponseTopic]
) -> Node | KafkaError:
    topic = known.get(place[0])
    for partition in topic.partitions if topic is not None else ():
        if partition.partition_index == place[1]:
            leader = client.node(partition.leader_id)
            return leader or LeaderNotAvailable(f"LEADER_NOT_AVAILABLE: nobody leads {place[0]}-{place[1]}")
    return UnknownTopicOrPartition(f"UNKNOWN_TOPIC_OR_PARTITION: there is no {place[0]}-{place[1]}")


def _request(places: list[Partition], times: Mapping[Partition, int]) -> ListOffsetsRequest:
    topics: dict[str, list[ListOffsetsPartition]] = {}
    for place in places:
        topics.setdefault(place[0], []).append(ListOffsetsPartition(place[1], timestamp=times[place]))
    return ListOffsetsRequest(_CONSUMER, 0, [ListOffsetsTopic(name, parts) for name, parts in topics.items()])


def _read(answer: ListOffsetsResponse) -> dict[Partition, int | KafkaError]:
    read: dict[Partition, int | KafkaError] = {}
    for topic in answer.topics:
        for part in topic.partitions:
            place = (topic.name, part.partition_index)
            if part.error_code:
                read[place] = refusal(part.error_code)
            elif part.old_style_offsets:  # v0
                read[place] = part.old_style_offsets[0]
            else:
                read[place] = part.offset
    return read


async def for_all(items: Iterable[K], do: Callable[[K], object]) -> None:
    """Await ``do`` for all items at once. Raises the first failure, without an exception group."""
    try:
        async with anyio.create_task_group() as tasks:
            for item in items:
                tasks.start_soon(do, item)  # type: ignore[arg-type]
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
