"""DescribeConfigs: the configs of topics, of this broker and of other resources.

Behaviour:
- Unknown config names are ignored, as in Kafka. Unknown resources fail on their own, but an unknown resource
  type fails the whole request.
- The broker "" has the configs that are set for all brokers at run time.
- There are no loggers. Groups and client metrics subscriptions have only default configs.

Versions: v1 sources and synonyms · v3 types and documentation.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, TypeAlias

from kgw_core.api.config_resources import (
    BROKER,
    BROKER_LOGGER,
    CLIENT_METRICS,
    GROUP,
    RESOURCE_TYPES,
    TOPIC,
    check_node,
)
from kgw_core.api.large import LargeAnswer, in_turns, large
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.configs.dynamic import ALL
from kgw_core.errors import InvalidRequest, KafkaError
from kgw_core.topics.broker_configs import describe_all_brokers, describe_broker
from kgw_core.topics.configs import describe
from kgw_core.topics.names import check_name
from kgw_core.topics.resource_configs import CLIENT_METRICS_CONFIGS, GROUP_CONFIGS, describe_resource
from kgw_core.topics.values import DEFAULT_CONFIG, ConfigEntry
from kgw_core.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)

Known: TypeAlias = dict[tuple[int, str, tuple[str, ...]], list[DescribeConfigsResourceResult]]
"""The entries made for a request, so that a resource that occurs ten thousand times is described once."""

_PIECE = 20
"""How many resources are described (0.2 ms each) before the event loop serves others."""


def handle(
    request: DescribeConfigsRequest, context: RequestContext
) -> DescribeConfigsResponse | Coroutine[Any, Any, LargeAnswer]:
    """Describe each resource; many of them make a large answer."""
    if len(request.resources) > _PIECE:
        return large(partial(_in_turns, request, context))
    for resource in request.resources:
        _check_type(resource)
    return DescribeConfigsResponse(0, _described(request.resources, request, context, {}))


def _check_type(resource: DescribeConfigsResource) -> None:
    """Check the resource types. :raises InvalidRequest: one is unknown, which fails the whole request."""
    if resource.resource_type not in RESOURCE_TYPES:
        raise InvalidRequest(
            f"Unexpected resource type {resource.resource_type} for resource {resource.resource_name}"
        )


async def _in_turns(request: DescribeConfigsRequest, context: RequestContext) -> DescribeConfigsResponse:
    async for resource in in_turns(request.resources):
        _check_type(resource)
    results: list[DescribeConfigsResult] = []
    known: Known = {}
    async for resource in in_turns(request.resources, _PIECE):
        results += _described([resource], request, context, known)
    return DescribeConfigsResponse(0, results)


def _described(
    resources: Sequence[DescribeConfigsResource],
    request: DescribeConfigsRequest,
    context: RequestContext,
    known: Known,
) -> list[DescribeConfigsResult]:
    results = []
    for resource in resources:
        result = DescribeConfigsResult(0, None, resource.resource_type, resource.resource_name)
        results.append(result)
        try:
            wanted = (
                resource.resource_type,
                resource.resource_name,
                tuple(resource.configuration_keys or ()),
            )
            if wanted not in known:
                known[wanted] = [_result(entry, request, context) for entry in _entries(resource, context)]
            result.configs = known[wanted]
        except Exception as caught:
            error = context.caught(caught, resource.resource_name)
            result.error_code, result.error_message = error.code, str(error)
    return results


def _entries(resource: DescribeConfigsResource, context: RequestContext) -> list[ConfigEntry]:
    kind, name = resource.resource_type, resource.resource_name
    names = set(resource.configuration_keys) if resource.configuration_keys else None
    broker = context.broker
    if kind == TOPIC:
        check_name(name)
        return describe(broker.catalog.find(name).topic.configs, broker.configs.levels, names)
    if kind == BROKER:
        if not name:
            return describe_all_brokers(broker.configs.level(ALL), names)
        check_node(name, context)
        return describe_broker(broker.configs.levels, names)
    if not name:
        called = {BROKER_LOGGER: "Broker id", GROUP: "Group name"}
        raise InvalidRequest(f"{called.get(kind, 'Client metrics subscription name')} must not be empty")
    if kind == BROKER_LOGGER:
        check_node(name, context)
        return []
    return describe_resource(CLIENT_METRICS_CONFIGS if kind == CLIENT_METRICS else GROUP_CONFIGS, names)


def _result(
    entry: ConfigEntry, request: DescribeConfigsRequest, context: RequestContext
) -> DescribeConfigsResourceResult:
    result = DescribeConfigsResourceResult(
        entry.name,
        entry.value,
        entry.read_only,
        config_source=entry.source,
        is_sensitive=entry.sensitive,
        config_type=entry.type,
        documentation=entry.doc if request.include_documentation else None,
    )
    if context.version == 0:
        result.is_default = entry.source == DEFAULT_CONFIG
    if request.include_synonyms:
        result.synonyms = [
            DescribeConfigsSynonym(synonym.name, synonym.value, synonym.source) for synonym in entry.synonyms
        ]
    return result


def refuse(
    request: DescribeConfigsRequest, error: KafkaError, context: RequestContext
) -> DescribeConfigsResponse:
    """``error`` for every resource."""
    return DescribeConfigsResponse(
        0,
        [
            DescribeConfigsResult(error.code, str(error), resource.resource_type, resource.resource_name)
            for resource in request.resources
        ],
    )


API = Api("DescribeConfigs", (0, 4), handle, refuse)
