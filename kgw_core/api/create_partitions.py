"""CreatePartitions: increases the partitions of topics. Each topic succeeds or fails on its own.

Behaviour:
- ``count`` is the new total. If it is no increase, the answer is INVALID_PARTITIONS.
- Assignments are one list of brokers for each new partition.
- A request may add at most :data:`MOST` partitions to a topic, and ``limits.max_partitions`` limits all
  topics.

Versions: v1 throttling before the answer · v2 flexible · v3 quota errors, which do not occur here.
"""

from __future__ import annotations

from collections import Counter

from kgw_core.api.large import CHANGES, in_turns
from kgw_core.api.registry import Api
from kgw_core.api.replicas import check_replicas
from kgw_core.broker import RequestContext
from kgw_core.errors import (
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidRequest,
    KafkaError,
    PolicyViolation,
)
from kgw_core.wire.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
)

MOST = 10_000
"""The most partitions that one request may add to a topic (Kafka's limit)."""


async def handle(request: CreatePartitionsRequest, context: RequestContext) -> CreatePartitionsResponse:
    """Add partitions to each topic, or only validate the change."""
    times = Counter(topic.name for topic in request.topics)
    results = []
    each_once = {topic.name: topic for topic in request.topics}.values()
    async for topic in in_turns(each_once, CHANGES):
        result = CreatePartitionsTopicResult(topic.name)
        results.append(result)
        try:
            if times[topic.name] > 1:
                raise InvalidRequest(f"topic '{topic.name}' is in the request {times[topic.name]} times")
            await _check(topic, context)
            await context.broker.catalog.add_partitions(
                topic.name, topic.count, validate_only=request.validate_only
            )
        except Exception as caught:
            error = context.caught(caught, topic.name)
            result.error_code, result.error_message = error.code, str(error)
    return CreatePartitionsResponse(0, results)


async def _check(topic: CreatePartitionsTopic, context: RequestContext) -> None:
    have = len(context.broker.catalog.find(topic.name).partitions)
    more = topic.count - have
    if more == 0:
        raise InvalidPartitions(f"Topic already has {have} partition(s).")
    if more < 0:
        raise InvalidPartitions(
            f"The topic {topic.name} currently has {have} partition(s); "
            f"{topic.count} would not be an increase."
        )
    if more > MOST:
        raise PolicyViolation(f"{more} partitions more: at most {MOST} can be added at once")
    if topic.assignments is None:
        return
    if len(topic.assignments) != more:
        raise InvalidReplicaAssignment(
            f"Attempted to add {more} additional partition(s), but only "
            f"{len(topic.assignments)} assignment(s) were specified."
        )
    async for assignment in in_turns(topic.assignments):
        check_replicas(assignment.broker_ids, context)


def refuse(
    request: CreatePartitionsRequest, error: KafkaError, context: RequestContext
) -> CreatePartitionsResponse:
    """``error`` for every topic."""
    return CreatePartitionsResponse(
        0, [CreatePartitionsTopicResult(topic.name, error.code, str(error)) for topic in request.topics]
    )


API = Api("CreatePartitions", (0, 3), handle, refuse)
