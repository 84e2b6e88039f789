"""ListGroups: all groups there are.

Behaviour:
- Filters by state (v4) and by type (v5) take any case; a type or state that is none finds nothing.

Versions: v1 throttle time · v3 flexible · v4 states (KIP-518) · v5 types (KIP-848).
"""

from __future__ import annotations

from kgw_core.api.group_errors import code_of
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.wire.messages.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse


def handle(request: ListGroupsRequest, context: RequestContext) -> ListGroupsResponse:
    """List those that the filters let through."""
    coordinator = context.broker.groups.coordinator
    try:
        coordinator.check("", may_be_empty=True)
    except KafkaError as error:
        return ListGroupsResponse(0, code_of(error, context, ""))
    states = {state.lower() for state in request.states_filter}
    types = {kind.lower() for kind in request.types_filter}
    return ListGroupsResponse(
        0,
        0,
        [
            ListedGroup(group.id, group.protocol_type or "", group.state.value, group.type)
            for group in coordinator.groups.values()
            if (not states or group.state.value.lower() in states) and (not types or group.type in types)
        ],
    )


def refuse(request: ListGroupsRequest, error: KafkaError, context: RequestContext) -> ListGroupsResponse:
    """``error``."""
    return ListGroupsResponse(0, error.code)


API = Api("ListGroups", (0, 5), handle, refuse)
