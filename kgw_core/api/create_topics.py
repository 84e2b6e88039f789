"""CreateTopics: each topic succeeds or fails on its own.

Behaviour:
- -1 partitions or replicas are the broker's default. A manual assignment sets the number of partitions.
- One gateway cannot have a replication factor above 1. With ``topics.replication_factor`` "accept" it becomes
  1, so that clients written for clusters work; with "strict" it is refused. A manual assignment with unknown
  brokers is always refused.
- If a config occurs more than once, the last one counts.

Versions: v1 validate only · v4 defaults by -1 (KIP-464) · v5 configs in the answer (KIP-525) · v7 topic ids.
"""

from __future__ import annotations

from collections import Counter

import anyio.lowlevel

from kgw_core.api.large import in_turns
from kgw_core.api.registry import Api
from kgw_core.api.replicas import check_replicas
from kgw_core.broker import RequestContext
from kgw_core.errors import (
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    KafkaError,
    TopicAlreadyExists,
)
from kgw_core.topics.configs import describe
from kgw_core.topics.names import check_name
from kgw_core.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)


async def handle(request: CreateTopicsRequest, context: RequestContext) -> CreateTopicsResponse:
    """Create each topic, or only validate it."""
    names = Counter(topic.name for topic in request.topics)
    results = []
    for topic in {topic.name: topic for topic in request.topics}.values():
        await anyio.lowlevel.checkpoint()  # an immediate store never yields to the event loop
        result = CreatableTopicResult(topic.name, error_message=None)
        results.append(result)
        try:
            if names[topic.name] > 1:
                raise InvalidRequest(f"topic '{topic.name}' is in the request {names[topic.name]} times")
            await _create(topic, result, request.validate_only, context)
        except Exception as caught:
            error = context.caught(caught, topic.name)
            results[-1] = CreatableTopicResult(topic.name, error_code=error.code, error_message=str(error))
    return CreateTopicsResponse(0, results)


async def _create(
    topic: CreatableTopic, result: CreatableTopicResult, validate_only: bool, context: RequestContext
) -> None:
    catalog = context.broker.catalog
    check_name(topic.name)
    if topic.name in catalog.by_name:  # before all other checks, as in Kafka
        raise TopicAlreadyExists(f"Topic '{topic.name}' already exists.")
    given = await _configs(topic)
    partitions = await _partitions(topic, context)
    state = await catalog.create(topic.name, partitions, given, validate_only=validate_only)
    result.topic_id = state.id_bytes
    result.num_partitions = state.topic.partitions
    result.replication_factor = 1
    result.configs = [  # with the request's values
        CreatableTopicConfigs(
            entry.name, given.get(entry.name, entry.value), entry.read_only, entry.source, entry.sensitive
        )
        for entry in describe(state.topic.configs, context.broker.configs.levels)
    ]


async def _configs(topic: CreatableTopic) -> dict[str, str | None]:
    """The topic's configs by name. The last of several values counts, but a null stays."""
    configs: dict[str, str | None] = {}
    async for config in in_turns(topic.configs):
        if configs.get(config.name, "") is not None:
            configs[config.name] = config.value
    return configs


async def _partitions(topic: CreatableTopic, context: RequestContext) -> int:
    """Check the replicas; return the number of partitions."""
    settings = context.broker.config.topics
    if topic.assignments:
        if topic.num_partitions != -1 or topic.replication_factor != -1:
            raise InvalidRequest("with a manual assignment, partitions and replication factor must be -1")
        count = len(topic.assignments)
        wrong = InvalidReplicaAssignment(
            f"the {count} assigned partitions must be 0 to {count - 1}, each once"
        )
        given = set()
        async for assignment in in_turns(topic.assignments):
            if assignment.partition_index not in range(count):
                raise wrong
            check_replicas(assignment.broker_ids, context)
            given.add(assignment.partition_index)
        if len(given) < count:
            raise wrong
        return count
    if topic.num_partitions < 1 and topic.num_partitions != -1:
        raise InvalidPartitions(f"number of partitions must be at least 1, not {topic.num_partitions}")
    if topic.replication_factor < 1 and topic.replication_factor != -1:
        raise InvalidReplicationFactor(
            f"replication factor must be at least 1, not {topic.replication_factor}"
        )
    if topic.replication_factor > 1 and settings.replication_factor == "strict":
        raise InvalidReplicationFactor(
            f"replication factor {topic.replication_factor} is more than the 1 broker there is "
            '(topics.replication_factor = "accept" takes it as 1)'
        )
    return settings.num_partitions if topic.num_partitions == -1 else topic.num_partitions


def refuse(request: CreateTopicsRequest, error: KafkaError, context: RequestContext) -> CreateTopicsResponse:
    """``error`` for every topic."""
    results = [
        CreatableTopicResult(topic.name, error_code=error.code, error_message=str(error), configs=None)
        for topic in request.topics
    ]
    return CreateTopicsResponse(0, results)


API = Api("CreateTopics", (0, 7), handle, refuse)
