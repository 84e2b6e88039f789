"""SyncGroup: the leader sends the assignments of a generation, and each member gets its own.

Behaviour:
- The answer comes when the leader's assignments are written. Members without one get an empty assignment.
- Protocol type and name have to be those of the generation (v5, KIP-559).

Versions: v1 throttle time · v3 group.instance.id (KIP-345) · v4 flexible · v5 protocol type and name.
"""

from __future__ import annotations

from kgw_core.api.group_errors import code_of
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import InconsistentGroupProtocol, KafkaError
from kgw_core.groups.events import Sync, Synced
from kgw_core.pending import Pending
from kgw_core.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse

WITH_PROTOCOL = 5


def handle(request: SyncGroupRequest, context: RequestContext) -> Pending[SyncGroupResponse]:
    """Sync. The answer waits for the leader."""
    if context.version >= WITH_PROTOCOL and (request.protocol_type is None or request.protocol_name is None):
        raise InconsistentGroupProtocol("SyncGroup has to name protocol type and protocol")
    syncing = context.broker.groups.sync(
        Sync(
            request.group_id,
            request.generation_id,
            request.member_id,
            request.group_instance_id,
            request.protocol_type,
            request.protocol_name,
            {assigned.member_id: bytes(assigned.assignment) for assigned in request.assignments},
        )
    )
    answer: Pending[SyncGroupResponse] = Pending()
    syncing.then(lambda done: answer.resolve(_response(done.result(), request, context)))
    return answer


def _response(synced: Synced, request: SyncGroupRequest, context: RequestContext) -> SyncGroupResponse:
    code = code_of(synced.error, context, request.group_id)
    return SyncGroupResponse(0, code, synced.protocol_type, synced.protocol_name, synced.assignment)


def refuse(request: SyncGroupRequest, error: KafkaError, context: RequestContext) -> SyncGroupResponse:
    """``error``."""
    return SyncGroupResponse(0, error.code)


API = Api("SyncGroup", (0, 5), handle, refuse)
