"""JoinGroup: joins a group's next generation. The answer comes when the generation is complete.

Behaviour:
- A new dynamic member first gets its id with MEMBER_ID_REQUIRED, and joins with it (v4 on, KIP-394).
- A restarted static member takes its old place without a rebalance (v5 on, KIP-345). If it leads, it has to
  skip the assignment (v9, KIP-814).

Versions: v1 rebalance timeout, which is the session timeout in v0 · v4 member id required · v5
group.instance.id · v6 flexible · v7 protocol type · v8 reason (KIP-800) · v9 skip_assignment.
"""

from __future__ import annotations

from kgw_core.api.group_errors import code_of
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.groups.events import Join, Joined
from kgw_core.groups.sizes import shortened
from kgw_core.pending import Pending
from kgw_core.wire.messages.join_group import (
    JoinGroupRequest,
    JoinGroupResponse,
    JoinGroupResponseMember,
)

MEMBER_ID_REQUIRED = 4
PROTOCOL_TYPE = 7
SKIP_ASSIGNMENT = 9


def handle(request: JoinGroupRequest, context: RequestContext) -> Pending[JoinGroupResponse]:
    """Join. The answer waits for the other members."""
    join = Join(
        request.group_id,
        request.member_id,
        request.group_instance_id,
        shortened(context.client.client_id or ""),
        f"/{context.client.host}",
        request.session_timeout_ms,
        request.rebalance_timeout_ms if context.version > 0 else request.session_timeout_ms,
        request.protocol_type,
        tuple((protocol.name, bytes(protocol.metadata)) for protocol in request.protocols),
        context.version >= MEMBER_ID_REQUIRED,
        context.version >= SKIP_ASSIGNMENT,
        request.reason,
    )
    joining = context.broker.groups.join(join)
    answer: Pending[JoinGroupResponse] = Pending()
    answer.on_abandon = joining.abandon
    joining.then(lambda done: answer.resolve(_response(done.result(), request, context)))
    return answer


def _response(joined: Joined, request: JoinGroupRequest, context: RequestContext) -> JoinGroupResponse:
    name = joined.protocol_name
    return JoinGroupResponse(
        0,
        code_of(joined.error, context, request.group_id),
        joined.generation,
        joined.protocol_type,
        name if name is not None or context.version >= PROTOCOL_TYPE else "",
        joined.leader,
        joined.skip_assignment,
        joined.member_id,
        [
            JoinGroupResponseMember(member.id, member.instance_id, member.metadata)
            for member in joined.members
        ],
    )


def refuse(request: JoinGroupRequest, error: KafkaError, context: RequestContext) -> JoinGroupResponse:
    """``error``."""
    return _response(Joined(error, request.member_id), request, context)


API = Api("JoinGroup", (0, 9), handle, refuse)
