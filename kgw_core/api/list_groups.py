"""ListGroups: all groups.

Behaviour:
- Filters by state (v4) and by type (v5) ignore case. An unknown type or state matches no group.

Versions: v1 throttle time · v3 flexible · v4 states (KIP-518) · v5 types (KIP-848).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from kgw_core.api.group_errors import code_of
from kgw_core.api.large import MANY, LargeAnswer, in_turns, large
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.groups.group import Group
from kgw_core.wire.messages.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse


def handle(
    request: ListGroupsRequest, context: RequestContext
) -> ListGroupsResponse | Coroutine[Any, Any, LargeAnswer]:
    """List the groups that match the filters."""
    coordinator = context.broker.groups.coordinator
    if coordinator.groups.is_elsewhere():  # that broker lists them
        return ListGroupsResponse(0, 0, [])
    try:
        coordinator.groups.check("", may_be_empty=True)
    except KafkaError as error:
        return ListGroupsResponse(0, code_of(error, context, ""))
    groups = list(coordinator.groups.values())
    if len(groups) > MANY:
        return large(partial(_listed_in_turns, groups, request))
    allowed = _filter(request)
    return ListGroupsResponse(0, 0, [_listed(group) for group in groups if allowed(group)])


async def _listed_in_turns(groups: list[Group], request: ListGroupsRequest) -> ListGroupsResponse:
    allowed = _filter(request)
    return ListGroupsResponse(0, 0, [_listed(group) async for group in in_turns(groups) if allowed(group)])


def _filter(request: ListGroupsRequest) -> Callable[[Group], bool]:
    states = {state.lower() for state in request.states_filter}
    types = {kind.lower() for kind in request.types_filter}
    return lambda group: (
        (not states or group.state.value.lower() in states) and (not types or group.type in types)
    )


def _listed(group: Group) -> ListedGroup:
    return ListedGroup(group.id, group.protocol_type or "", group.state.value, group.type)


def refuse(request: ListGroupsRequest, error: KafkaError, context: RequestContext) -> ListGroupsResponse:
    """``error``."""
    return ListGroupsResponse(0, error.code)


API = Api("ListGroups", (0, 5), handle, refuse)
