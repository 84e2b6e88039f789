"""DeleteGroups: deletes groups without members, and their offsets. Each group succeeds or fails on its own.

Versions: v1 throttle time · v2 flexible · v3 error messages.
"""

from __future__ import annotations

from kgw_core.api.group_errors import code_of
from kgw_core.api.large import CHANGES, in_turns
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.pending import Pending
from kgw_core.wire.messages.delete_groups import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)


async def handle(request: DeleteGroupsRequest, context: RequestContext) -> DeleteGroupsResponse:
    """Delete each group."""
    names = dict.fromkeys(request.groups_names)
    deleting = [(group_id, _delete(group_id, context)) async for group_id in in_turns(names, CHANGES)]
    results = []
    async for group_id, outcome in in_turns(deleting):
        error = await outcome.wait()
        code = code_of(error, context, group_id)
        results.append(DeletableGroupResult(group_id, code, str(error) if error is not None else None))
    return DeleteGroupsResponse(0, results)


def _delete(group_id: str, context: RequestContext) -> Pending[KafkaError | None]:
    try:
        return context.broker.groups.delete_group(group_id)
    except KafkaError as error:
        refused: Pending[KafkaError | None] = Pending()
        refused.resolve(error)
        return refused


def refuse(request: DeleteGroupsRequest, error: KafkaError, context: RequestContext) -> DeleteGroupsResponse:
    """``error`` for every group."""
    return DeleteGroupsResponse(
        0, [DeletableGroupResult(group_id, error.code, str(error)) for group_id in request.groups_names]
    )


API = Api("DeleteGroups", (0, 3), handle, refuse)
