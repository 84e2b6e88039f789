"""Heartbeat: renews the session of a group's member.

Behaviour:
- The answer comes at once, from memory. While groups are being loaded it is success, as clients expect no
  error for that.

Versions: v1 throttle time · v3 group.instance.id (KIP-345) · v4 flexible.
"""

from __future__ import annotations

from kgw_core.api.group_errors import code_of
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse


def handle(request: HeartbeatRequest, context: RequestContext) -> HeartbeatResponse:
    """Renew the member's session."""
    try:
        context.broker.groups.heartbeat(
            request.group_id, request.generation_id, request.member_id, request.group_instance_id
        )
    except KafkaError as error:
        return HeartbeatResponse(0, code_of(error, context, request.group_id))
    return HeartbeatResponse()


def refuse(request: HeartbeatRequest, error: KafkaError, context: RequestContext) -> HeartbeatResponse:
    """``error``."""
    return HeartbeatResponse(0, error.code)


API = Api("Heartbeat", (0, 4), handle, refuse)
