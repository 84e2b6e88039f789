"""ElectLeaders: no election is ever needed, as the only replica of each partition leads it.

Behaviour:
- Each partition of a request has ELECTION_NOT_NEEDED, in preferred and unclean elections.
- Null partitions mean all. As partitions without a need for an election are left out, all topics are empty.

Versions: v1 type of the election, an error for the whole (KIP-460) · v2 flexible.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

from kgw_core.api.large import in_steps_if_many
from kgw_core.api.partitions import find_partition
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import ElectionNotNeeded, InvalidRequest, KafkaError
from kgw_core.wire.messages.elect_leaders import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
    TopicPartitions,
)

PREFERRED, UNCLEAN = 0, 1


def handle(
    request: ElectLeadersRequest, context: RequestContext
) -> ElectLeadersResponse | Coroutine[Any, Any, ElectLeadersResponse]:
    """The error of a partition: there is no election."""
    if request.election_type not in (PREFERRED, UNCLEAN):
        raise InvalidRequest(f"Unknown election type {request.election_type}")
    if request.topic_partitions is None:
        names = sorted(context.broker.catalog.by_name)
        return ElectLeadersResponse(0, 0, [ReplicaElectionResult(name) for name in names])
    return in_steps_if_many(_results(request.topic_partitions, context), context)


def _results(
    wanted: list[TopicPartitions], context: RequestContext
) -> Generator[None, None, ElectLeadersResponse]:
    results = []
    for topic in wanted:
        partitions = []
        yield
        for index in topic.partitions:
            yield
            try:
                find_partition(context, topic.topic, index)
                raise ElectionNotNeeded("Leader election not needed for topic partition.")
            except KafkaError as error:
                code = context.failed(error, f"{topic.topic}-{index}")
                partitions.append(PartitionResult(index, code, str(error)))
        results.append(ReplicaElectionResult(topic.topic, partitions))
    return ElectLeadersResponse(0, 0, results)


def refuse(request: ElectLeadersRequest, error: KafkaError, context: RequestContext) -> ElectLeadersResponse:
    """``error`` for the whole from v1 on, and for every partition."""
    results = [
        ReplicaElectionResult(
            topic.topic, [PartitionResult(index, error.code, str(error)) for index in topic.partitions]
        )
        for topic in request.topic_partitions or ()
    ]
    return ElectLeadersResponse(0, error.code if context.version >= 1 else 0, results)


API = Api("ElectLeaders", (0, 2), handle, refuse)
