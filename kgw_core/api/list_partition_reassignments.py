"""ListPartitionReassignments: none, ever: a partition has one replica, which stays where it is."""

from __future__ import annotations

from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.wire.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)


def handle(
    request: ListPartitionReassignmentsRequest, context: RequestContext
) -> ListPartitionReassignmentsResponse:
    """No reassignments; topics that are not there are no error, as in Kafka."""
    return ListPartitionReassignmentsResponse(error_message=None)


def refuse(
    request: ListPartitionReassignmentsRequest, error: KafkaError, context: RequestContext
) -> ListPartitionReassignmentsResponse:
    return ListPartitionReassignmentsResponse(error_code=error.code, error_message=str(error))


API = Api("ListPartitionReassignments", (0, 0), handle, refuse)
