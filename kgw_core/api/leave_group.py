"""LeaveGroup: removes members at once, so that the others need not wait for their sessions to expire.

Behaviour:
- From v3 on a request has several members, each with an outcome of its own (KIP-345). An admin tool names
  static members by their instance id alone. Very many members are removed some hundred at a time.

Versions: v1 throttle time · v3 several members · v4 flexible · v5 reasons (KIP-800).
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeAlias

import anyio.lowlevel

from kgw_core.api.group_errors import code_of
from kgw_core.api.large import MANY, STEP
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.groups.events import Leaving
from kgw_core.pending import Pending
from kgw_core.wire.messages.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)

SEVERAL = 3

Outcomes: TypeAlias = list[KafkaError | None]


def handle(
    request: LeaveGroupRequest, context: RequestContext
) -> Pending[LeaveGroupResponse] | Coroutine[Any, Any, LeaveGroupResponse]:
    """Remove the members."""
    if context.entries > MANY:
        return _in_turns(request, context)
    leaving = _leaving(request.members) if context.version >= SEVERAL else [Leaving(request.member_id)]
    answer: Pending[LeaveGroupResponse] = Pending()

    def done(outcome: Pending[Outcomes]) -> None:
        members = _responses(leaving, outcome.result(), request, context)
        if context.version >= SEVERAL:
            answer.resolve(LeaveGroupResponse(0, 0, members))
        else:
            answer.resolve(LeaveGroupResponse(0, members[0].error_code))

    context.broker.groups.leave(request.group_id, leaving).then(done)
    return answer


async def _in_turns(request: LeaveGroupRequest, context: RequestContext) -> LeaveGroupResponse:
    members: list[MemberResponse] = []
    for start in range(0, len(request.members), STEP):
        await anyio.lowlevel.checkpoint()
        leaving = _leaving(request.members[start : start + STEP])
        outcomes = await context.broker.groups.leave(request.group_id, leaving).wait()
        members += _responses(leaving, outcomes, request, context)
    return LeaveGroupResponse(0, 0, members)


def _leaving(members: Iterable[MemberIdentity]) -> list[Leaving]:
    return [Leaving(member.member_id, member.group_instance_id, member.reason) for member in members]


def _responses(
    leaving: Iterable[Leaving], outcomes: Outcomes, request: LeaveGroupRequest, context: RequestContext
) -> list[MemberResponse]:
    return [
        MemberResponse(one.member_id, one.instance_id, code_of(error, context, request.group_id))
        for one, error in zip(leaving, outcomes, strict=True)
    ]


def refuse(request: LeaveGroupRequest, error: KafkaError, context: RequestContext) -> LeaveGroupResponse:
    """``error``."""
    return LeaveGroupResponse(0, error.code)


API = Api("LeaveGroup", (0, 5), handle, refuse)
