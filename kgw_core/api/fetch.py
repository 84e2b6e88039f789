"""Fetch: batches from some partitions, waiting for more where there is too little.

Behaviour:
- How partitions are read, in which order and within which limits: :mod:`kgw_core.api.fetch_reading`.
- A fetch of epoch 0 begins a session if there is room for one (KIP-227), one of epoch -1 does not, and both
  end the session that they name. Later fetches of a session name what changes and get what changed:
  :mod:`kgw_core.fetching.sessions`. A session that loses its last partition ends, answered with session id 0.
- Every partition has one replica, the leader: no preferred read replica is named, whatever the client's rack.

Versions: v0 and v1 get message sets of format v0, v2 and v3 of v1 · v4 v2 batches, isolation level · v5 log
start offset · v7 sessions · v9 leader epoch · v11 rack · v12 flexible, truncation detection · v13 topics by
id · v15 replica state · v16 the new leader and its address with errors that mean another one leads · v18
high watermark of a follower.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from kgw_core.api.fetch_full import FullFetch
from kgw_core.api.fetch_incremental import IncrementalFetch
from kgw_core.api.fetch_legacy import FIRST_V2, converted
from kgw_core.api.fetch_reading import BY_ID, Fetch
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.pending import Pending
from kgw_core.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    PartitionData,
)

BEGIN, NO_MORE = 0, -1
"""Session epochs of full fetches: one that begins a session, and one that ends it or has none."""


def handle(
    request: FetchRequest, context: RequestContext
) -> FetchResponse | Pending[FetchResponse] | Coroutine[Any, Any, FetchResponse]:
    """Read now what is in memory, wait where there is too little; else in a task.

    :raises KafkaError: what is wrong with the session that the request names.
    """
    response = _read(request, context)
    return response if context.version >= FIRST_V2 else converted(request, response, context)


def _read(request: FetchRequest, context: RequestContext) -> FetchResponse | Pending[FetchResponse]:
    fetch = _fetch(request, context)
    response = fetch.start()
    if response is not None:
        return response
    pending: Pending[FetchResponse] = Pending()
    context.broker.spawn(fetch.run(pending))
    return pending


def _fetch(request: FetchRequest, context: RequestContext) -> Fetch:
    sessions = context.broker.fetch_sessions
    id, epoch = request.session_id, request.session_epoch
    if epoch in (BEGIN, NO_MORE):
        if id:
            sessions.close(id)
        return FullFetch(request, context, begins=epoch == BEGIN)
    session = sessions.resume(
        id,
        epoch,
        context.version >= BY_ID,
        request.topics,
        request.forgotten_topics_data,
        context.broker.clock.monotonic(),
    )
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
