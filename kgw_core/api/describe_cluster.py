"""DescribeCluster: the brokers of :mod:`kgw_core.placement`.

Versions: v1 endpoint type (KIP-919): 1 brokers, 2 controllers, which are not served · v2 fenced brokers.
"""

from __future__ import annotations

from kgw_core.api.operations import CLUSTER_OPERATIONS
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError, MismatchedEndpointType, UnsupportedEndpointType
from kgw_core.wire.messages.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

BROKERS, CONTROLLERS = 1, 2


def handle(request: DescribeClusterRequest, context: RequestContext) -> DescribeClusterResponse:
    """The cluster with the addresses for this client."""
    if request.endpoint_type == CONTROLLERS:
        raise MismatchedEndpointType("this listener is for brokers, not for controllers")
    if request.endpoint_type != BROKERS:
        raise UnsupportedEndpointType(f"endpoint type {request.endpoint_type}")
    broker = context.broker
    response = DescribeClusterResponse(
        endpoint_type=request.endpoint_type,
        cluster_id=broker.cluster_id,
        controller_id=broker.placement.controller(),
        brokers=[DescribeClusterBroker(*node) for node in broker.placement.nodes(context.client)],
    )
    if request.include_cluster_authorized_operations:
        response.cluster_authorized_operations = CLUSTER_OPERATIONS
    return response


def refuse(
    request: DescribeClusterRequest, error: KafkaError, context: RequestContext
) -> DescribeClusterResponse:
    return DescribeClusterResponse(error_code=error.code, error_message=str(error))


API = Api("DescribeCluster", (0, 2), handle, refuse)
