"""Metadata: the brokers, and topics with their partitions. It may create topics.

Behaviour:
- In v0 an empty list means all topics. From v1 on null means all, and an empty list none.
- A topic that occurs twice, or by its name and its id, has one entry. Unknown topics come last.
- An unknown topic is created if the client allows it (v4 on) and ``topics.auto_create`` is on, unless it was
  deleted a moment ago (:mod:`kgw_core.topics.auto_creation`).
- The broker's address is ``listeners.advertise``, else the address that the client dialled.

Versions: v2 cluster id · v4 allow auto-creation · v7 leader epochs · v10 topic ids, v12 requests by id · v13
rebootstrap.
"""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any

import anyio.lowlevel

from kgw_core.api.large import MANY, LargeAnswer, in_turns, large
from kgw_core.api.operations import CLUSTER_OPERATIONS, TOPIC_OPERATIONS
from kgw_core.api.partitions import leader_of
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import (
    InvalidRequest,
    KafkaError,
    LeaderNotAvailable,
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
"""These versions have a field for topic ids, which no broker accepts (KAFKA-12701)."""


def handle(
    request: MetadataRequest, context: RequestContext
) -> MetadataResponse | Coroutine[Any, Any, MetadataResponse | LargeAnswer]:
    """Return the cluster and the topics: in a coroutine if topics have to be created first, or are many."""
    catalog = context.broker.catalog
    wanted = request.topics
    if context.version in HAVE_ID and any(
        topic.name is None or topic.topic_id != ZERO_UUID for topic in wanted or ()
    ):
        raise InvalidRequest(f"topics cannot be asked for by id in Metadata v{context.version}")
    found = _Found(request, context)
    if wanted is None or (context.version == 0 and not wanted):
        found.states = dict(catalog.by_name)
        return _handed_over(_answer(found))
    if context.broker.config.topics.auto_create and request.allow_auto_topic_creation:
        known = catalog.by_name
        missing = {topic.name for topic in wanted if topic.name is not None and topic.name not in known}
        if missing:
            return _create_first(found, wanted)
    return _handed_over(_look(found, wanted))


def _handed_over(
    answer: MetadataResponse | LargeAnswer,
) -> MetadataResponse | Coroutine[Any, Any, MetadataResponse | LargeAnswer]:
    return large(answer.make) if isinstance(answer, LargeAnswer) else answer


class _Found:
    """The topics of a request, each once: ``states`` by name, and in ``missing`` entries with errors, by name
    or id."""

    __slots__ = ("context", "failures", "missing", "request", "states")

    def __init__(self, request: MetadataRequest, context: RequestContext) -> None:
        self.request = request
        self.context = context
        self.failures: dict[str | None, KafkaError] = {}  # of creations, by topic
        self.states: dict[str, TopicState[PartitionLog]] = {}
        self.missing: dict[str | bytes, MetadataResponseTopic] = {}

    def look(self, topic: MetadataRequestTopic) -> None:
        """Look up one topic."""
        name, id = topic.name, topic.topic_id
        try:
            if name is None or id != ZERO_UUID:
                state = self.context.broker.catalog.by_id.get(id)
                if state is None:
                    raise UnknownTopicId(f"there is no topic with id {id.hex()}")
            else:
                state = self.context.broker.catalog.by_name.get(name)
                if state is None:
                    if name in self.failures:
                        raise self.failures[name]
                    check_name(name)
                    raise UnknownTopicOrPartition(f"there is no topic '{name}'")
        except KafkaError as error:
            key = name if name is not None else id
            if key not in self.missing:
                entry = self.missing[key] = _missing(topic, error, self.context)
                if self.request.include_topic_authorized_operations:
                    entry.topic_authorized_operations = TOPIC_OPERATIONS
        else:
            self.states[state.name] = state


def _look(found: _Found, wanted: list[MetadataRequestTopic]) -> MetadataResponse | LargeAnswer:
    if len(wanted) > MANY:
        return LargeAnswer(partial(_look_in_turns, found, wanted))
    for topic in wanted:
        found.look(topic)
    return _answer(found)


def _answer(found: _Found) -> MetadataResponse | LargeAnswer:
    if sum(len(state.partitions) for state in found.states.values()) > MANY:
        return LargeAnswer(partial(_told_in_turns, found))
    placement = found.context.broker.placement
    topics = [
        _with_partitions(state, [_partition(log, placement) for log in state.partitions], found.request)
        for state in found.states.values()
    ]
    return _response(found.request, found.context, [*topics, *found.missing.values()])


async def _create_first(found: _Found, wanted: list[MetadataRequestTopic]) -> MetadataResponse | LargeAnswer:
    context = found.context
    for name in dict.fromkeys(topic.name for topic in wanted):
        if name is None or name in context.broker.catalog.by_name:
            continue
        await anyio.lowlevel.checkpoint()  # an immediate store never yields to the event loop
        try:
            await context.broker.auto_creation.ensure(name)
        except KafkaError as error:
            found.failures[name] = error
    return _look(found, wanted)


async def _look_in_turns(found: _Found, wanted: list[MetadataRequestTopic]) -> MetadataResponse:
    async for topic in in_turns(wanted):
        found.look(topic)
    return await _told_in_turns(found)


async def _told_in_turns(found: _Found) -> MetadataResponse:
    placement = found.context.broker.placement
    topics: dict[str, MetadataResponseTopic] = {}
    pairs = ((state, log) for state in found.states.values() for log in state.partitions)
    async for of, log in in_turns(pairs):
        topic = topics.get(of.name)
        if topic is None:
            topic = topics[of.name] = _with_partitions(of, [], found.request)
        topic.partitions.append(_partition(log, placement))
    return _response(found.request, found.context, [*topics.values(), *found.missing.values()])


def _missing(
    topic: MetadataRequestTopic, error: KafkaError, context: RequestContext
) -> MetadataResponseTopic:
    context.failed(error, topic.name or topic.topic_id.hex())
    return _refused(topic, error, context)


def _refused(
    topic: MetadataRequestTopic, error: KafkaError, context: RequestContext
) -> MetadataResponseTopic:
    name = topic.name
    if name is None and context.version < BY_ID:
        name = ""
    return MetadataResponseTopic(error.code, name, topic.topic_id)


def _partition(log: PartitionLog, placement: Placement) -> MetadataResponsePartition:
    replicas = placement.replicas(log.tp)
    leader, epoch = leader_of(log, placement)
    if leader < 0:
        code = LeaderNotAvailable.code
        return MetadataResponsePartition(code, log.tp.partition, leader, epoch, replicas, [], replicas)
    return MetadataResponsePartition(0, log.tp.partition, leader, epoch, replicas, replicas)


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
    topics = [_refused(topic, error, context) for topic in request.topics or ()]
    response = _response(request, context, topics)
    response.error_code = error.code
    return response


API = Api("Metadata", (0, 13), handle, refuse)
