"""Fetch: batches from some partitions; it waits if there are too few bytes.

Behaviour:
- :mod:`kgw_core.api.fetch_reading` has the order and the limits of reading.
- A fetch of epoch 0 begins a session if there is room (KIP-227), one of epoch -1 does not. Both end the
  session that they name. Later fetches of a session have only changes, and so have their answers:
  :mod:`kgw_core.fetching.sessions`. A session without partitions ends, and the answer has session id 0.
- Every partition has one replica, the leader. So no preferred read replica is ever named.

Versions: v0 and v1 get message sets of format v0, v2 and v3 of v1 · v4 v2 batches, isolation level · v5 log
start offset · v7 sessions · v9 leader epoch · v11 rack · v12 flexible, truncation detection · v13 topics by
id · v15 replica state · v16 the leader and its address in NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH ·
v18 high watermark of a follower.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from kgw_core.api.fetch_full import FullFetch
from kgw_core.api.fetch_incremental import IncrementalFetch
from kgw_core.api.fetch_legacy import FIRST_V2, converted
from kgw_core.api.fetch_reading import BY_ID, PARTS, Fetch
from kgw_core.api.large import STEP
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.fetching.sessions import FetchSession, asked_of, gone_of
from kgw_core.pending import Pending
from kgw_core.steps import in_pieces
from kgw_core.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    PartitionData,
)

BEGIN, NO_MORE = 0, -1
"""The session epochs of full fetches: BEGIN begins a session, NO_MORE ends one or has none."""


def handle(
    request: FetchRequest, context: RequestContext
) -> FetchResponse | Pending[FetchResponse] | Coroutine[Any, Any, FetchResponse]:
    """Answer from memory at once, or wait for more bytes; else read in a task.

    :raises KafkaError: the session of the request is wrong.
    """
    response = _read(request, context)
    return response if context.version >= FIRST_V2 else converted(request, response, context)


def _read(request: FetchRequest, context: RequestContext) -> FetchResponse | Pending[FetchResponse]:
    sessions = context.broker.fetch_sessions
    if request.session_epoch in (BEGIN, NO_MORE):
        if request.session_id:
            sessions.close(request.session_id)
        fetch: Fetch = FullFetch(request, context, begins=request.session_epoch == BEGIN)
    elif context.entries <= PARTS:
        session = sessions.resume(
            request.session_id,
            request.session_epoch,
            context.version >= BY_ID,
            request.topics,
            request.forgotten_topics_data,
            context.broker.clock.monotonic(),
        )
        fetch = _fetch_of(session, request, context)
    else:
        pending: Pending[FetchResponse] = Pending()
        context.broker.spawn(_read_in_steps(request, context, pending))
        return pending
    response = fetch.start()
    if response is not None:
        return response
    pending = Pending()
    context.broker.spawn(fetch.run(pending))
    return pending


async def _read_in_steps(
    request: FetchRequest, context: RequestContext, pending: Pending[FetchResponse]
) -> None:
    """Continue a session with very many changes."""
    sessions = context.broker.fetch_sessions
    try:
        session = sessions.due(request.session_id, request.session_epoch, context.version >= BY_ID)
        await in_pieces(asked_of(request.topics), STEP, session.change)
        await in_pieces(gone_of(request.forgotten_topics_data), STEP, session.forget)
        resumed = sessions.resumed(session, context.broker.clock.monotonic())
        fetch = _fetch_of(resumed, request, context)
    except Exception as error:
        pending.fail(error)
    else:
        await fetch.run(pending)


def _fetch_of(session: FetchSession | None, request: FetchRequest, context: RequestContext) -> Fetch:
    if session is None:
        return FullFetch(request, context, begins=False)
    return IncrementalFetch(request, context, session)


def refuse(request: FetchRequest, error: KafkaError, context: RequestContext) -> FetchResponse:
    """``error`` for the whole from v7 on, before that for each partition."""
    if context.version >= 7:
        return FetchResponse(error_code=error.code)
    return FetchResponse(
        responses=[
            FetchableTopicResponse(
                topic.topic,
                topic.topic_id,
                [PartitionData(asked.partition, error.code, -1, records=b"") for asked in topic.partitions],
            )
            for topic in request.topics
        ]
    )


API = Api("Fetch", (0, 18), handle, refuse)
