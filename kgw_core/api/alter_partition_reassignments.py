"""AlterPartitionReassignments: succeeds only if a partition is assigned to the broker that it is on.

Behaviour:
- An unknown broker is INVALID_REPLICA_ASSIGNMENT. A reassignment that changes nothing succeeds at once.
- Null replicas cancel a reassignment: NO_REASSIGNMENT_IN_PROGRESS, as there never is one.

Versions: v1 whether the number of replicas may change.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

from kgw_core.api.large import in_steps_if_many
from kgw_core.api.partitions import find_partition
from kgw_core.api.registry import Api
from kgw_core.api.replicas import check_replicas
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidReplicaAssignment, KafkaError, NoReassignmentInProgress
from kgw_core.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)


def handle(
    request: AlterPartitionReassignmentsRequest, context: RequestContext
) -> AlterPartitionReassignmentsResponse | Coroutine[Any, Any, AlterPartitionReassignmentsResponse]:
    """Answer each partition on its own."""
    return in_steps_if_many(_reassigned(request, context), context)


def _reassigned(
    request: AlterPartitionReassignmentsRequest, context: RequestContext
) -> Generator[None, None, AlterPartitionReassignmentsResponse]:
    topics = []
    for topic in request.topics:
        partitions = []
        yield
        for asked in topic.partitions:
            partition = ReassignablePartitionResponse(asked.partition_index, 0, None)
            partitions.append(partition)
            yield
            try:
                _reassign(topic.name, asked, context)
            except Exception as caught:
                error = context.caught(caught, f"{topic.name}-{asked.partition_index}")
                partition.error_code, partition.error_message = error.code, str(error)
        topics.append(ReassignableTopicResponse(topic.name, partitions))
    return AlterPartitionReassignmentsResponse(
        allow_replication_factor_change=request.allow_replication_factor_change,
        error_message=None,
        responses=topics,
    )


def _reassign(name: str, asked: ReassignablePartition, context: RequestContext) -> None:
    log = find_partition(context, name, asked.partition_index)
    if asked.replicas is None:
        raise NoReassignmentInProgress("No partition reassignment is in progress.")
    check_replicas(asked.replicas, context)
    if asked.replicas != context.broker.placement.replicas(log.tp):
        raise InvalidReplicaAssignment(f"{log.tp} cannot be moved to {asked.replicas}")


def refuse(
    request: AlterPartitionReassignmentsRequest, error: KafkaError, context: RequestContext
) -> AlterPartitionReassignmentsResponse:
    return AlterPartitionReassignmentsResponse(
        allow_replication_factor_change=request.allow_replication_factor_change,
        error_code=error.code,
        error_message=str(error),
    )


API = Api("AlterPartitionReassignments", (0, 1), handle, refuse)
