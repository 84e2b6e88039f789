"""DescribeTopicPartitions: topics with their partitions, one page at a time (KIP-966).

Behaviour:
- A request without topics means all topics. They are sorted by name, and each occurs once.
- A page has at most ``responsePartitionLimit`` partitions, from 1 to :data:`MOST`. The cursor names the next
  one, and may name an unknown topic. Unknown topics do not count.
- If the request names topics, its cursor has to name one of them. If its partition does not exist, the topic
  comes without partitions.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Iterator
from heapq import merge
from typing import Any

from kgw_core.api.large import STEP, in_steps_if_many
from kgw_core.api.operations import TOPIC_OPERATIONS
from kgw_core.api.partitions import leader_of
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidRequest, KafkaError, LeaderNotAvailable, UnknownTopicOrPartition
from kgw_core.log.partition import PartitionLog
from kgw_core.placement import Placement
from kgw_core.topics.names import check_name
from kgw_core.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponseCursor,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)

MOST = 2000
"""The most partitions of one answer (Kafka's max.request.partition.size.limit)."""


def handle(
    request: DescribeTopicPartitionsRequest, context: RequestContext
) -> DescribeTopicPartitionsResponse | Coroutine[Any, Any, DescribeTopicPartitionsResponse]:
    """Return the page that begins at the cursor."""
    return in_steps_if_many(_page(request, context), context)


def _page(
    request: DescribeTopicPartitionsRequest, context: RequestContext
) -> Generator[None, None, DescribeTopicPartitionsResponse]:
    cursor_topic, cursor_partition = "", 0
    if request.cursor is not None:
        cursor_topic, cursor_partition = request.cursor.topic_name, request.cursor.partition_index
    everything = not request.topics
    names = {topic.name for topic in request.topics} or set(context.broker.catalog.by_name)
    if request.cursor is not None and request.topics and cursor_topic not in names:
        raise InvalidRequest(f"the cursor's topic '{cursor_topic}' is not among those asked for")
    if cursor_partition < 0:
        raise InvalidRequest(f"the cursor is at partition {cursor_partition}")
    room = max(1, min(request.response_partition_limit, MOST))
    response = DescribeTopicPartitionsResponse()
    topics = response.topics = []
    for name in (yield from _in_order(names, cursor_topic)):
        yield
        if room == 0:
            response.next_cursor = DescribeTopicPartitionsResponseCursor(name, 0)
            break
        first = cursor_partition if name == cursor_topic else 0
        topic, following = _describe(name, first, room, context)
        if topic.error_code and everything:
            continue  # the topic was deleted meanwhile
        topics.append(topic)
        if following is not None:
            response.next_cursor = DescribeTopicPartitionsResponseCursor(name, following)
            break
        room -= len(topic.partitions)
    return response


def _in_order(names: set[str], first: str) -> Generator[None, None, Iterator[str]]:
    """The names from ``first`` on, sorted in pieces."""
    left = list(names)
    pieces = []
    for at in range(0, len(left), STEP):
        pieces.append(sorted(name for name in left[at : at + STEP] if name >= first))
        for _ in range(STEP):
            yield
    return merge(*pieces)


def _describe(
    name: str, first: int, room: int, context: RequestContext
) -> tuple[DescribeTopicPartitionsResponseTopic, int | None]:
    """The topic with up to ``room`` partitions from ``first`` on, and the partition after them, if any."""
    topic = DescribeTopicPartitionsResponseTopic(name=name, topic_authorized_operations=TOPIC_OPERATIONS)
    try:
        check_name(name)
        state = context.broker.catalog.find(name)
    except KafkaError as error:
        if not isinstance(error, UnknownTopicOrPartition):
            topic.topic_authorized_operations = -(1 << 31)
        topic.error_code = context.failed(error, name)
        return topic, None
    topic.topic_id, topic.is_internal = state.id_bytes, state.is_internal
    placement = context.broker.placement
    end = min(first + room, len(state.partitions))
    topic.partitions = [_partition(log, placement) for log in state.partitions[first:end]]
    return topic, end if end < len(state.partitions) else None


def _partition(log: PartitionLog, placement: Placement) -> DescribeTopicPartitionsResponsePartition:
    leader, epoch = leader_of(log, placement)
    code = 0 if leader >= 0 else LeaderNotAvailable.code
    replicas = placement.replicas(log.tp)
    in_sync, offline = (replicas, []) if leader >= 0 else ([], replicas)
    return DescribeTopicPartitionsResponsePartition(
        code, log.tp.partition, leader, epoch, replicas, in_sync, [], [], offline
    )


def refuse(
    request: DescribeTopicPartitionsRequest, error: KafkaError, context: RequestContext
) -> DescribeTopicPartitionsResponse:
    """``error`` for every topic of the request."""
    return DescribeTopicPartitionsResponse(
        topics=[DescribeTopicPartitionsResponseTopic(error.code, topic.name) for topic in request.topics]
    )


API = Api("DescribeTopicPartitions", (0, 0), handle, refuse)
