"""LeaveGroup: members go, at once, so that nobody has to wait for the end of their sessions.

Behaviour:
- From v3 on several members, each with an outcome of its own (KIP-345); an admin tool names static members
  by their instance id alone.

Versions: v1 throttle time · v3 several members · v4 flexible · v5 reasons (KIP-800).
"""

from __future__ import annotations

from kgw_core.api.group_errors import code_of
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.groups.events import Leaving
from kgw_core.pending import Pending
from kgw_core.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberResponse

SEVERAL = 3


def handle(request: LeaveGroupRequest, context: RequestContext) -> Pending[LeaveGroupResponse]:
    """Take the members out."""
    if context.version >= SEVERAL:
        leaving = [
            Leaving(member.member_id, member.group_instance_id, member.reason) for member in request.members
        ]
    else:
        leaving = [Leaving(request.member_id)]
    answer: Pending[LeaveGroupResponse] = Pending()

    def done(outcome: Pending[list[KafkaError | None]]) -> None:
        codes = [code_of(error, context, request.group_id) for error in outcome.result()]
        if context.version < SEVERAL:
            answer.resolve(LeaveGroupResponse(0, codes[0]))
            return
        members = [
            MemberResponse(one.member_id, one.instance_id, code)
            for one, code in zip(leaving, codes, strict=True)
        ]
        answer.resolve(LeaveGroupResponse(0, 0, members))

    context.broker.groups.leave(request.group_id, leaving).then(done)
    return answer


def refuse(request: LeaveGroupRequest, error: KafkaError, context: RequestContext) -> LeaveGroupResponse:
    """``error``."""
    return LeaveGroupResponse(0, error.code)


API = Api("LeaveGroup", (0, 5), handle, refuse)
