"""DescribeGroups: the members of groups and their assignments.

Behaviour:
- As in Kafka, only a stable group has metadata, and assignments stay until the next generation begins.
- An unknown group has the state Dead, and from v6 on also GROUP_ID_NOT_FOUND (KIP-1043).

Versions: v1 throttle time · v3 authorized operations (KIP-430) · v4 group.instance.id · v5 flexible ·
v6 error messages.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

from kgw_core.api.group_errors import code_of
from kgw_core.api.large import in_steps_if_many
from kgw_core.api.operations import ALTER_CONFIGS, DELETE, DESCRIBE, DESCRIBE_CONFIGS, READ, bits
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import GroupIdNotFound, KafkaError
from kgw_core.groups.group import Group, State
from kgw_core.wire.messages.describe_groups import (
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)

WITH_MESSAGE = 6
GROUP_OPERATIONS = bits(READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS)


def handle(
    request: DescribeGroupsRequest, context: RequestContext
) -> DescribeGroupsResponse | Coroutine[Any, Any, DescribeGroupsResponse]:
    """Describe each group."""
    return in_steps_if_many(_groups(request, context), context)


def _groups(
    request: DescribeGroupsRequest, context: RequestContext
) -> Generator[None, None, DescribeGroupsResponse]:
    groups = []
    for group_id in request.groups:
        groups.append(_described(group_id, request, context))
        yield
    return DescribeGroupsResponse(0, groups)


def _described(group_id: str, request: DescribeGroupsRequest, context: RequestContext) -> DescribedGroup:
    try:
        group = context.broker.groups.find(group_id)
    except GroupIdNotFound as error:
        answer = DescribedGroup(0, None, group_id, State.DEAD.value)
        if context.version >= WITH_MESSAGE:
            answer.error_code, answer.error_message = error.code, str(error)
            return answer
    except KafkaError as error:
        return DescribedGroup(code_of(error, context, group_id), _message(error, context), group_id)
    else:
        answer = _found(group)
    if request.include_authorized_operations:
        answer.authorized_operations = GROUP_OPERATIONS
    return answer


def _found(group: Group) -> DescribedGroup:
    stable = group.state is State.STABLE
    protocol = group.protocol_name or "" if stable else ""
    members = [
        DescribedGroupMember(
            member.id,
            member.instance_id,
            member.client_id,
            member.client_host,
            member.metadata(protocol) if stable else b"",
            member.assignment,
        )
        for member in group.members.values()
    ]
    return DescribedGroup(0, None, group.id, group.state.value, group.protocol_type or "", protocol, members)


def refuse(
    request: DescribeGroupsRequest, error: KafkaError, context: RequestContext
) -> DescribeGroupsResponse:
    """``error`` for every group."""
    return DescribeGroupsResponse(
        0, [DescribedGroup(error.code, _message(error, context), group_id) for group_id in request.groups]
    )


def _message(error: KafkaError, context: RequestContext) -> str | None:
    return str(error) if context.version >= WITH_MESSAGE else None


API = Api("DescribeGroups", (0, 6), handle, refuse)
