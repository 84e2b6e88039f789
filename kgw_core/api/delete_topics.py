"""DeleteTopics: by name, or by id from v6 on; each topic succeeds or fails on its own.

Versions: v5 error messages · v6 topic ids (KIP-516).
"""

from __future__ import annotations

from collections import Counter

from kgw_core.api.large import CHANGES, in_turns
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidRequest, KafkaError, UnknownServerError
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
    """Delete each topic."""
    asked = _asked(request, context.version)
    times = Counter((topic.name, topic.topic_id) for topic in asked)
    results = []
    each_once = {(topic.name, topic.topic_id): topic for topic in asked}.values()
    async for topic in in_turns(each_once, CHANGES):
        result = DeletableTopicResult(topic.name, topic.topic_id)
        results.append(result)
        try:
            if times[topic.name, topic.topic_id] > 1:
                raise InvalidRequest("the topic is in the request more than once")
            if (topic.name is None) == (topic.topic_id == ZERO_UUID):
                raise InvalidRequest("a topic is named either by its name or by its id")
            state = await context.broker.catalog.delete(
                topic.name if topic.name is not None else topic.topic_id
            )
            result.name, result.topic_id = state.name, state.id_bytes
        except Exception as error:
            if not isinstance(error, KafkaError):
                context.client.crashed(context.api, error)
                error = UnknownServerError(f"the gateway failed at this topic: {error!r}")
            result.error_code = context.failed(error, topic.name or topic.topic_id.hex())
            result.error_message = str(error)
    return DeleteTopicsResponse(0, results)


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
