"""InitProducerId: a new id for an idempotent producer.

Behaviour:
- Each call returns a new id with epoch 0, also if an idempotent producer sends its old id (v3 on, KIP-360).
  Only transactional producers keep their id.
- COORDINATOR_LOAD_IN_PROGRESS while the state gives no ids (:mod:`kgw_core.producer_ids`).
- With a transactional id: TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal to all clients (see FindCoordinator).

Versions: v3 the producer's old id and epoch · v4 PRODUCER_FENCED · v5 TRANSACTION_ABORTABLE.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from kgw_core.api.find_coordinator import NO_TRANSACTIONS
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidRequest, KafkaError, TransactionalIdAuthorizationFailed
from kgw_core.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse


def handle(
    request: InitProducerIdRequest, context: RequestContext
) -> InitProducerIdResponse | Coroutine[Any, Any, InitProducerIdResponse]:
    """Return a producer id and epoch: at once, unless a new block of ids is needed."""
    if request.transactional_id == "":
        raise InvalidRequest("the transactional id must not be empty")
    if request.transactional_id is not None:
        raise TransactionalIdAuthorizationFailed(NO_TRANSACTIONS)
    if (request.producer_id == -1) != (request.producer_epoch == -1):
        raise InvalidRequest(f"producer id {request.producer_id} with epoch {request.producer_epoch}")
    producer_id = context.broker.producer_ids.next_now()
    return _later(context) if producer_id is None else InitProducerIdResponse(0, 0, producer_id, 0)


async def _later(context: RequestContext) -> InitProducerIdResponse:
    return InitProducerIdResponse(0, 0, await context.broker.producer_ids.next(), 0)


def refuse(
    request: InitProducerIdRequest, error: KafkaError, context: RequestContext
) -> InitProducerIdResponse:
    return InitProducerIdResponse(0, error.code, -1, -1)


API = Api("InitProducerId", (0, 5), handle, refuse)
