"""DeleteGroups: forget groups that have no members, with their offsets; each succeeds or fails alone.

Versions: v1 throttle time · v2 flexible · v3 error messages.
"""

from __future__ import annotations

from kgw_core.api.group_errors import code_of
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.pending import Pending
from kgw_core.wire.messages.delete_groups import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)


def handle(request: DeleteGroupsRequest, context: RequestContext) -> Pending[DeleteGroupsResponse]:
    """Delete each group."""
    results = [DeletableGroupResult(group_id) for group_id in dict.fromkeys(request.groups_names)]
    answer: Pending[DeleteGroupsResponse] = Pending()
    left = len(results)

    def done(outcome: Pending[KafkaError | None], result: DeletableGroupResult) -> None:
        nonlocal left
        error = outcome.result()
        result.error_code = code_of(error, context, result.group_id)
        result.error_message = str(error) if error is not None else None
        left -= 1
        if not left:
            answer.resolve(DeleteGroupsResponse(0, results))

    for result in results:
        try:
            deleting = context.broker.groups.delete_group(result.group_id)
        except KafkaError as error:
            deleting = Pending()
            deleting.resolve(error)
        deleting.then(lambda outcome, result=result: done(outcome, result))  # type: ignore[misc]
    if not results:
        answer.resolve(DeleteGroupsResponse())
    return answer


def refuse(request: DeleteGroupsRequest, error: KafkaError, context: RequestContext) -> DeleteGroupsResponse:
    """``error`` for every group."""
    return DeleteGroupsResponse(
        0, [DeletableGroupResult(group_id, error.code, str(error)) for group_id in request.groups_names]
    )


API = Api("DeleteGroups", (0, 3), handle, refuse)
