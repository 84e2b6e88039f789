"""Metadata: brokers, and topics with their partitions; may create topics.

Behaviour:
- v0 means all topics by an empty list, v1 on by a null one, and none by an empty one.
- A topic that is not there is created if the client allows it (v4 on) and ``topics.auto_create`` is on,
  unless it was deleted a moment ago (:mod:`kgw_core.topics.auto_creation`).
- The broker's address is the one that the client can dial (``listeners.advertise``, else the one it dialled).

Versions: v2 cluster id · v4 auto-creation asked for · v7 leader epochs · v10 topic ids, v12 asked for by id ·
v13 rebootstrap.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias

import anyio.lowlevel

from kgw_core.api.large import MANY, LargeAnswer, in_turns, large
from kgw_core.api.operations import CLUSTER_OPERATIONS, TOPIC_OPERATIONS
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import (
    InvalidRequest,
    InvalidTopicException,
    KafkaError,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from kgw_core.log.partition import PartitionLog
from kgw_core.placement import Placement
from kgw_core.topics.catalog import TopicState
from kgw_core.topics.names import check_name
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

BY_ID = 12
HAVE_ID = (10, 11)
"""These versions have a place for an id, which no broker takes (KAFKA-12701)."""
TOPICS = 20
"""Topics that are looked for at once, to see how many partitions they have."""

Found: TypeAlias = TopicState[PartitionLog] | MetadataResponseTopic
"""A topic that is there, or the answer for one that is not."""


def handle(
    request: MetadataRequest, context: RequestContext
) -> MetadataResponse | Coroutine[Any, Any, MetadataResponse | LargeAnswer]:
    """The cluster and the topics asked for; a coroutine where topics are to be created first, or are many."""
    catalog = context.broker.catalog
    wanted = request.topics
    if context.version in HAVE_ID and any(
        topic.name is None or topic.topic_id != ZERO_UUID for topic in wanted or ()
    ):
        raise InvalidRequest(f"topics cannot be asked for by id in Metadata v{context.version}")
    if wanted is None or (context.version == 0 and not wanted):
        states = list(catalog.by_name.values())
        if catalog.partition_count > MANY:
            return large(partial(_in_turns, states, request, context))
        return _response(request, context, [_topic(state, request, context) for state in states])
    missing = [topic.name for topic in wanted if topic.name is not None and topic.name not in catalog.by_name]
    if missing and context.broker.config.topics.auto_create and request.allow_auto_topic_creation:
        return _create_first(request, context, missing)
    if len(wanted) > TOPICS and max(catalog.partition_count, len(wanted)) > MANY:
        later = (_found(topic, request, context) for topic in wanted)
        return large(partial(_in_turns, later, request, context))
    found = [_found(topic, request, context) for topic in wanted]
    if catalog.partition_count > MANY and sum(len(each.partitions) for each in found) > MANY:
        return large(partial(_in_turns, found, request, context))
    return _response(request, context, [_topic(each, request, context) for each in found])


async def _create_first(
    request: MetadataRequest, context: RequestContext, names: list[str]
) -> MetadataResponse:
    failures: dict[str, KafkaError] = {}
    for name in dict.fromkeys(names):
        await anyio.lowlevel.checkpoint()  # a store that is immediate lets nobody else have a turn
        try:
            await context.broker.auto_creation.ensure(name)
        except KafkaError as error:
            failures[name] = error

    def found(topic: MetadataRequestTopic) -> Found:
        failure = failures.get(topic.name) if topic.name is not None else None
        return _missing(topic, failure, request, context) if failure else _found(topic, request, context)

    return await _in_turns(map(found, request.topics or ()), request, context)


def _found(topic: MetadataRequestTopic, request: MetadataRequest, context: RequestContext) -> Found:
    catalog = context.broker.catalog
    try:
        if topic.name is None or topic.topic_id != ZERO_UUID:
            state = catalog.by_id.get(topic.topic_id)
            if state is None:
                raise UnknownTopicId(f"there is no topic with id {topic.topic_id.hex()}")
        else:
            state = catalog.by_name.get(topic.name)
            if state is None:
                check_name(topic.name)
                raise UnknownTopicOrPartition(f"there is no topic '{topic.name}'")
    except (UnknownTopicId, UnknownTopicOrPartition, InvalidTopicException) as error:
        return _missing(topic, error, request, context)
    return state


def _missing(
    topic: MetadataRequestTopic, error: KafkaError, request: MetadataRequest, context: RequestContext
) -> MetadataResponseTopic:
    name = topic.name
    code = context.failed(error, name or topic.topic_id.hex())
    if name is None and context.version < BY_ID:
        name = ""
    return MetadataResponseTopic(code, name, topic.topic_id)


def _topic(found: Found, request: MetadataRequest, context: RequestContext) -> MetadataResponseTopic:
    if isinstance(found, MetadataResponseTopic):
        return found
    placement = context.broker.placement
    return _with_partitions(found, [_partition(log, placement) for log in found.partitions], request)


async def _in_turns(
    found: Iterable[Found], request: MetadataRequest, context: RequestContext
) -> MetadataResponse:
    """The answer, made in steps of so many topics and partitions."""
    placement = context.broker.placement
    topics: list[MetadataResponseTopic] = []
    async for topic, log in in_turns(_each(found, request)):
        if log is None:
            topics.append(topic)
        else:
            topic.partitions.append(_partition(log, placement))
    return _response(request, context, topics)


def _each(
    found: Iterable[Found], request: MetadataRequest
) -> Iterator[tuple[MetadataResponseTopic, PartitionLog | None]]:
    """Each topic's answer by itself, without partitions, and then with each of its logs."""
    for each in found:
        if isinstance(each, MetadataResponseTopic):
            yield each, None
            continue
        if each.deleted:  # meanwhile
            if request.topics:
                yield MetadataResponseTopic(UnknownTopicOrPartition.code, each.name, each.id_bytes), None
            continue
        answer = _with_partitions(each, [], request)
        yield answer, None
        for log in each.partitions:
            yield answer, log


def _partition(log: PartitionLog, placement: Placement) -> MetadataResponsePartition:
    replicas = placement.replicas(log.tp)
    return MetadataResponsePartition(
        0, log.tp.partition, placement.leader(log.tp), log.leader_epoch, replicas, replicas
    )


def _with_partitions(
    state: TopicState[PartitionLog], partitions: list[MetadataResponsePartition], request: MetadataRequest
) -> MetadataResponseTopic:
    answer = MetadataResponseTopic(0, state.name, state.id_bytes, state.is_internal, partitions)
    if request.include_topic_authorized_operations:
        answer.topic_authorized_operations = TOPIC_OPERATIONS
    return answer


def _response(
    request: MetadataRequest, context: RequestContext, topics: list[MetadataResponseTopic]
) -> MetadataResponse:
    broker = context.broker
    response = MetadataResponse(
        0,
        [MetadataResponseBroker(*node) for node in broker.placement.nodes(context.client)],
        broker.cluster_id,
        broker.placement.controller(),
        topics,
    )
    if request.include_cluster_authorized_operations:
        response.cluster_authorized_operations = CLUSTER_OPERATIONS
    return response


def refuse(request: MetadataRequest, error: KafkaError, context: RequestContext) -> MetadataResponse:
    """``error`` for every topic, and for the whole from v13 on."""
    topics = [_missing(topic, error, request, context) for topic in request.topics or ()]
    response = _response(request, context, topics)
    response.error_code = error.code
    return response


API = Api("Metadata", (0, 13), handle, refuse)
