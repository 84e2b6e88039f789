"""DescribeConfigs: of topics and of this broker.

Behaviour:
- Unknown names among the keys are left out, as Kafka does; unknown resources fail on their own.

Versions: v1 sources and synonyms · v3 types and documentation.
"""

from __future__ import annotations

from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.config import Config
from kgw_core.errors import InvalidRequest, KafkaError, UnknownServerError
from kgw_core.topics.broker_configs import describe_broker
from kgw_core.topics.configs import as_broker_configs, describe
from kgw_core.topics.names import check_name
from kgw_core.topics.values import DEFAULT_CONFIG, ConfigEntry
from kgw_core.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)

TOPIC, BROKER = 2, 4


def handle(request: DescribeConfigsRequest, context: RequestContext) -> DescribeConfigsResponse:
    """Each resource's configs."""
    results = []
    for resource in request.resources:
        result = DescribeConfigsResult(0, None, resource.resource_type, resource.resource_name)
        results.append(result)
        try:
            result.configs = [_result(entry, request, context) for entry in _entries(resource, context)]
        except Exception as error:
            if not isinstance(error, KafkaError):
                context.client.crashed(context.api, error)
                error = UnknownServerError(f"the gateway failed at this resource: {error!r}")
            result.error_code = context.failed(error, resource.resource_name)
            result.error_message = str(error)
    return DescribeConfigsResponse(0, results)


def _entries(resource: DescribeConfigsResource, context: RequestContext) -> list[ConfigEntry]:
    broker = context.broker
    names = resource.configuration_keys or None
    if resource.resource_type == TOPIC:
        check_name(resource.resource_name)
        state = broker.catalog.find(resource.resource_name)
        return describe(state.topic.configs, broker.catalog.broker_defaults, names)
    if resource.resource_type == BROKER:
        if resource.resource_name == "":
            return []  # what is set dynamically for all brokers: nothing can be, yet
        if resource.resource_name != str(broker.placement.node_id):
            raise InvalidRequest(
                f"broker {resource.resource_name} is not {broker.placement.node_id}, the one that answers"
            )
        values = broker_values(broker.config) | as_broker_configs(broker.catalog.broker_defaults)
        return describe_broker(values, names)
    raise InvalidRequest(f"resource type {resource.resource_type} has no configs here")


def broker_values(config: Config) -> dict[str, str]:
    """What Kafka's broker configs are here, from the gateway's settings; sizes in bytes, times in ms."""
    limits = config.limits
    per_address = limits.max_connections_per_address
    values = {
        "auto.create.topics.enable": str(config.topics.auto_create).lower(),
        "broker.id": str(config.node_id),
        "connections.max.idle.ms": str(round(limits.idle_timeout * 1000)),
        "fetch.max.bytes": str(limits.fetch_max_bytes),
        "listeners": ",".join(
            f"{listener.name}://{listener.host}:{listener.port}" for listener in config.listeners
        ),
        "max.connections": str(limits.max_connections),
        "max.connections.per.ip": str(limits.max_connections if per_address is None else per_address),
        "node.id": str(config.node_id),
        "num.partitions": str(config.topics.num_partitions),
        "socket.request.max.bytes": str(limits.max_request_size),
    }
    advertised = [f"{each.name}://{each.advertise}" for each in config.listeners if each.advertise]
    if advertised:
        values["advertised.listeners"] = ",".join(advertised)
    if config.rack is not None:
        values["broker.rack"] = config.rack
    return values


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
