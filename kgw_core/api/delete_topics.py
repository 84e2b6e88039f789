"""DeleteTopics: by name, or from v6 on by id. Each topic succeeds or fails on its own.

A topic that occurs twice is not deleted, also if once by its name and once by its id.

Versions: v5 error messages · v6 topic ids (KIP-516).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable

from kgw_core.api.large import CHANGES, in_turns
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidRequest, KafkaError
from kgw_core.log.partition import PartitionLog
from kgw_core.topics.catalog import Catalog
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.messages.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)

BY_ID = 6


def _asked(request: DeleteTopicsRequest, version: int) -> list[DeleteTopicState]:
    return request.topics if version >= BY_ID else [DeleteTopicState(name) for name in request.topic_names]


async def handle(request: DeleteTopicsRequest, context: RequestContext) -> DeleteTopicsResponse:
    """Delete each topic that occurs once."""
    catalog = context.broker.catalog
    results = []
    asked = _asked(request, context.version)
    async for topic, error in _resolved(asked, catalog):
        result = DeletableTopicResult(topic.name, topic.topic_id)
        results.append(result)
        try:
            if error is not None:
                raise error
            by_name = topic.name is not None and topic.topic_id == ZERO_UUID
            state = await catalog.delete(topic.name if by_name else topic.topic_id)  # type: ignore[arg-type]
            result.name, result.topic_id = state.name, state.id_bytes
        except Exception as caught:
            error = context.caught(caught, topic.name or topic.topic_id.hex())
            result.error_code, result.error_message = error.code, str(error)
    return DeleteTopicsResponse(0, results)


async def _resolved(
    asked: Iterable[DeleteTopicState], catalog: Catalog[PartitionLog]
) -> AsyncIterator[tuple[DeleteTopicState, KafkaError | None]]:
    """The topics to delete, and the refusals: a topic that occurs twice, by its name, its id or both, has
    one."""
    names: Counter[str] = Counter()
    ids: Counter[bytes] = Counter()
    async for topic in in_turns(asked):
        if topic.name is None and topic.topic_id == ZERO_UUID:
            yield topic, InvalidRequest("neither the topic's name nor its id is given")
        elif topic.name is None:
            ids[topic.topic_id] += 1
        elif topic.topic_id == ZERO_UUID:
            names[topic.name] += 1
        else:
            yield topic, InvalidRequest("a topic is named either by its name or by its id, not by both")
    by_both: set[bytes] = set()
    async for name, times in in_turns(names.items(), CHANGES):
        state = catalog.by_name.get(name)
        if times > 1:
            yield DeleteTopicState(name), InvalidRequest("the topic is in the request more than once")
        elif state is not None and state.id_bytes in ids:
            by_both.add(state.id_bytes)
            error = InvalidRequest("the topic is in the request by its id, too")
            yield DeleteTopicState(name, state.id_bytes), error
        else:
            yield DeleteTopicState(name), None
    async for id, times in in_turns(ids.items(), CHANGES):
        state = catalog.by_id.get(id)
        if times > 1:
            yield DeleteTopicState(None, id), InvalidRequest("the topic is in the request more than once")
        elif id not in by_both:
            yield DeleteTopicState(state.name if state is not None else None, id), None


def refuse(request: DeleteTopicsRequest, error: KafkaError, context: RequestContext) -> DeleteTopicsResponse:
    """``error`` for every topic."""
    return DeleteTopicsResponse(
        0,
        [
            DeletableTopicResult(topic.name, topic.topic_id, error.code, str(error))
            for topic in _asked(request, context.version)
        ],
    )


API = Api("DeleteTopics", (0, 6), handle, refuse)
