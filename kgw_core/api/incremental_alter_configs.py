"""IncrementalAlterConfigs: sets, deletes, appends to and subtracts from single configs (KIP-339).

Behaviour: see :mod:`kgw_core.api.config_resources`. APPEND and SUBTRACT are for lists, and apply to the
effective value. A resource that occurs twice fails, both times.

Versions: v1 flexible.
"""

from __future__ import annotations

from kgw_core.api.config_resources import change, repeated
from kgw_core.api.large import CHANGES, in_turns
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidRequest, KafkaError
from kgw_core.wire.messages.incremental_alter_configs import (
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)


async def handle(
    request: IncrementalAlterConfigsRequest, context: RequestContext
) -> IncrementalAlterConfigsResponse:
    """Make the changes of each resource, or only validate them."""
    twice = await repeated(request.resources)
    responses = []
    async for resource in in_turns(request.resources, CHANGES):
        kind, name = resource.resource_type, resource.resource_name
        response = AlterConfigsResourceResponse(0, None, kind, name)
        responses.append(response)
        try:
            if (kind, name) in twice:
                raise InvalidRequest("Each resource must appear at most once.")
            changes = [(config.name, config.config_operation, config.value) for config in resource.configs]
            await change(kind, name, changes, context, replace=False, check_only=request.validate_only)
        except Exception as caught:
            error = context.caught(caught, name)
            response.error_code, response.error_message = error.code, str(error)
    return IncrementalAlterConfigsResponse(0, responses)


def refuse(
    request: IncrementalAlterConfigsRequest, error: KafkaError, context: RequestContext
) -> IncrementalAlterConfigsResponse:
    """``error`` for every resource."""
    return IncrementalAlterConfigsResponse(
        0,
        [
            AlterConfigsResourceResponse(error.code, str(error), each.resource_type, each.resource_name)
            for each in request.resources
        ],
    )


API = Api("IncrementalAlterConfigs", (0, 1), handle, refuse)
