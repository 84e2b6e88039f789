"""FindCoordinator: the coordinator of a group, from :mod:`kgw_core.placement`.

Behaviour:
- Transactions are not served yet: TRANSACTIONAL_ID_AUTHORIZATION_FAILED, with a message that says so. All
  clients treat this error as fatal; with others some retry until a timeout.

Versions: v1 key types · v3 flexible · v4 several keys (KIP-699) · v6 share groups, not served.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

from kgw_core.api.large import in_steps_if_many
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidRequest, KafkaError, TransactionalIdAuthorizationFailed
from kgw_core.placement import Node
from kgw_core.wire.messages.find_coordinator import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)

GROUP, TRANSACTION = 0, 1
BATCHED = 4
NO_TRANSACTIONS = "transactions are not supported by this gateway"


def handle(
    request: FindCoordinatorRequest, context: RequestContext
) -> FindCoordinatorResponse | Coroutine[Any, Any, FindCoordinatorResponse]:
    """Return the coordinator of one key, or from v4 on of each key."""
    if context.version < BATCHED:
        node = _coordinator(request.key, request.key_type, context)
        return FindCoordinatorResponse(0, 0, None, node.id, node.host, node.port)
    return in_steps_if_many(_coordinators(request, context), context)


def _coordinators(
    request: FindCoordinatorRequest, context: RequestContext
) -> Generator[None, None, FindCoordinatorResponse]:
    coordinators = []
    for key in request.coordinator_keys:
        try:
            node = _coordinator(key, request.key_type, context)
        except KafkaError as error:
            coordinators.append(Coordinator(key, -1, "", -1, context.failed(error, key), str(error)))
        else:
            coordinators.append(Coordinator(key, node.id, node.host, node.port, 0, None))
        yield
    return FindCoordinatorResponse(coordinators=coordinators)


def _coordinator(key: str, key_type: int, context: RequestContext) -> Node:
    if key_type == TRANSACTION:
        raise TransactionalIdAuthorizationFailed(NO_TRANSACTIONS)
    if key_type != GROUP:
        raise InvalidRequest(f"coordinator key type {key_type} is not served")
    return context.broker.placement.coordinator(key, context.client)


def refuse(
    request: FindCoordinatorRequest, error: KafkaError, context: RequestContext
) -> FindCoordinatorResponse:
    """``error`` for every key."""
    if context.version < BATCHED:
        return FindCoordinatorResponse(0, error.code, str(error), -1, "", -1)
    return FindCoordinatorResponse(
        coordinators=[
            Coordinator(key, -1, "", -1, error.code, str(error)) for key in request.coordinator_keys
        ]
    )


API = Api("FindCoordinator", (0, 6), handle, refuse)
