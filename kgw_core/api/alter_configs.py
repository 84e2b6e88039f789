"""AlterConfigs: replaces all configs that are set on a resource.

Behaviour: see :mod:`kgw_core.api.config_resources`. A resource that occurs twice fails, both times.

Versions: v1 throttling before the answer · v2 flexible.
"""

from __future__ import annotations

from kgw_core.api.config_resources import change, repeated
from kgw_core.api.large import CHANGES, in_turns
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidRequest, KafkaError
from kgw_core.topics.changes import SET
from kgw_core.wire.messages.alter_configs import (
    AlterConfigsRequest,
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
)


async def handle(request: AlterConfigsRequest, context: RequestContext) -> AlterConfigsResponse:
    """Replace the configs of each resource, or only validate the change."""
    twice = await repeated(request.resources)
    responses = []
    async for resource in in_turns(request.resources, CHANGES):
        kind, name = resource.resource_type, resource.resource_name
        response = AlterConfigsResourceResponse(0, None, kind, name)
        responses.append(response)
        try:
            if (kind, name) in twice:
                raise InvalidRequest("Each resource must appear at most once.")
            changes = [(config.name, SET, config.value) for config in resource.configs]
            await change(kind, name, changes, context, replace=True, check_only=request.validate_only)
        except Exception as caught:
            error = context.caught(caught, name)
            response.error_code, response.error_message = error.code, str(error)
    return AlterConfigsResponse(0, responses)


def refuse(request: AlterConfigsRequest, error: KafkaError, context: RequestContext) -> AlterConfigsResponse:
    """``error`` for every resource."""
    return AlterConfigsResponse(
        0,
        [
            AlterConfigsResourceResponse(error.code, str(error), each.resource_type, each.resource_name)
            for each in request.resources
        ],
    )


API = Api("AlterConfigs", (0, 2), handle, refuse)
