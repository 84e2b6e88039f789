"""SyncGroup: the leader brings the assignment of a generation, everybody gets its own part.

Behaviour:
- Answered when the leader's assignment is written; members that the leader left out get an empty one.
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
    """Get the assignment; the answer waits for the leader."""
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
