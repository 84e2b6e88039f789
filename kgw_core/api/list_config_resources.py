"""ListConfigResources: the names of resources with configs (KIP-1142).

Behaviour:
- A request without types means all types. An unknown type is UNSUPPORTED_VERSION.
- There are no client metrics subscriptions, and no groups with configs of their own.

Versions: v0 is ListClientMetricsResources: client metrics only · v1 every type.
"""

from __future__ import annotations

from kgw_core.api.config_resources import BROKER, BROKER_LOGGER, RESOURCE_TYPES, TOPIC
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError, UnsupportedVersion
from kgw_core.wire.messages.list_config_resources import (
    ConfigResource,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)


def handle(request: ListConfigResourcesRequest, context: RequestContext) -> ListConfigResourcesResponse:
    """Return the resources of the requested types."""
    if context.version == 0:
        return ListConfigResourcesResponse()
    wanted = set(request.resource_types or RESOURCE_TYPES)
    unknown = wanted.difference(RESOURCE_TYPES)
    if unknown:
        raise UnsupportedVersion(f"there are no config resources of type {min(unknown)}")
    node = str(context.broker.placement.node_id)
    resources = [ConfigResource(node, kind) for kind in (BROKER, BROKER_LOGGER) if kind in wanted]
    if TOPIC in wanted:
        resources += [ConfigResource(name, TOPIC) for name in sorted(context.broker.catalog.by_name)]
    return ListConfigResourcesResponse(config_resources=resources)


def refuse(
    request: ListConfigResourcesRequest, error: KafkaError, context: RequestContext
) -> ListConfigResourcesResponse:
    return ListConfigResourcesResponse(error_code=error.code)


API = Api("ListConfigResources", (0, 1), handle, refuse)
