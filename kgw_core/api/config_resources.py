"""The resources with configs, and the rules of their changes, for all APIs about configs.

Topic configs can change, and broker configs that have an effect here. Other configs are refused as Kafka
refuses read-only ones. As in Kafka, deleting a config that is not set does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from kgw_core.api.large import in_turns
from kgw_core.broker import RequestContext
from kgw_core.configs.dynamic import ALL
from kgw_core.errors import InvalidConfig, InvalidRequest
from kgw_core.topics import dynamic_configs
from kgw_core.topics.changes import APPEND, DELETE, OPERATIONS, SUBTRACT, Change
from kgw_core.topics.configs import altered
from kgw_core.topics.names import check_name
from kgw_core.topics.resource_configs import CLIENT_METRICS_CONFIGS, GROUP_CONFIGS
from kgw_core.wire.messages.alter_configs import AlterConfigsResource
from kgw_core.wire.messages.incremental_alter_configs import (
    AlterConfigsResource as IncrementalAlterConfigsResource,
)

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
_NUMBER = re.compile(r"[-+]?[0-9]{1,10}")
RESOURCE_TYPES = (TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP)
MOST_CHANGES = 1000
"""The most configs of one resource in a request. If there are more, some are unknown or occur twice."""

Resource: TypeAlias = AlterConfigsResource | IncrementalAlterConfigsResource


async def repeated(resources: Iterable[Resource]) -> set[tuple[int, str]]:
    """The type and name of resources that occur more than once."""
    seen: set[tuple[int, str]] = set()
    twice: set[tuple[int, str]] = set()
    async for resource in in_turns(resources):
        key = resource.resource_type, resource.resource_name
        (twice if key in seen else seen).add(key)
    return twice


def check_node(name: str, context: RequestContext) -> None:
    """Return if ``name`` is this broker's id. :raises InvalidRequest: it is not."""
    if not _NUMBER.fullmatch(name):
        raise InvalidRequest(f"Node id must be an integer, but it is: {name}")
    if int(name) != context.broker.placement.node_id:
        raise InvalidRequest(
            f"Unexpected broker id, expected {context.broker.placement.node_id}, but received {name}"
        )


async def change(
    kind: int,
    name: str,
    changes: Sequence[Change],
    context: RequestContext,
    *,
    replace: bool,
    check_only: bool,
) -> None:
    """Change the configs of one resource, or only validate. ``replace``: configs that are not named are
    deleted.

    :raises InvalidRequest: a type or operation is unknown, a config occurs twice, a value is null, or a
        config cannot change.
    :raises InvalidConfig: a config is unknown or a value invalid.
    :raises KafkaError: as :meth:`kgw_core.topics.catalog.Catalog.alter`.
    """
    if len(changes) > MOST_CHANGES:
        raise InvalidRequest(f"{len(changes)} configs of one resource, which has far fewer")
    if len({name for name, _, _ in changes}) < len(changes):
        raise InvalidRequest("Error due to duplicate config keys")
    nulls = [name for name, operation, value in changes if value is None and operation != DELETE]
    if nulls:
        raise InvalidRequest(f"Null value not supported for : {', '.join(nulls)}")
    unknown = [operation for _, operation, _ in changes if operation not in OPERATIONS]
    if unknown:
        raise InvalidRequest(f"Unknown operations type {unknown[0]}")
    if kind == TOPIC:
        await _change_topic(name, changes, context, replace, check_only)
    elif kind == BROKER:
        await _change_broker(name, changes, context, replace, check_only)
    elif kind == BROKER_LOGGER and not replace:
        _change_loggers(name, changes, context)
    elif kind == CLIENT_METRICS:
        if not name:
            raise InvalidRequest("Subscription name can't be empty")
        for config in _set(changes):
            if config not in CLIENT_METRICS_CONFIGS:
                raise InvalidRequest(f"Unknown client metrics configuration: {config}")
        _refuse_all(changes, "the gateway takes no client metrics")
    elif kind == GROUP:
        if not name:
            raise InvalidRequest("Default group resources are not allowed.")
        for config in _set(changes):
            if config not in GROUP_CONFIGS:
                raise InvalidConfig(f"Unknown group config name: {config}")
        _refuse_all(changes, "they are for group protocols that are not served here")
    else:
        raise InvalidRequest(f"Unknown resource type {kind}")


async def _change_topic(
    name: str, changes: Sequence[Change], context: RequestContext, replace: bool, check_only: bool
) -> None:
    catalog = context.broker.catalog
    if not name:
        raise InvalidRequest("Default topic resources are not allowed.")
    check_name(name)
    if replace:
        await catalog.set_configs(name, {key: value for key, _, value in changes}, validate_only=check_only)
        return
    await catalog.alter(
        name,
        lambda overrides: altered(overrides, changes, catalog.broker_defaults),
        validate_only=check_only,
    )


async def _change_broker(
    name: str, changes: Sequence[Change], context: RequestContext, replace: bool, check_only: bool
) -> None:
    configs = context.broker.configs
    if name:
        check_node(name, context)

    def change(values: Mapping[str, str]) -> dict[str, str]:
        return dynamic_configs.altered({} if replace else values, changes, configs.static)

    await configs.alter(configs.name if name else ALL, change, check_only=check_only)


def _change_loggers(name: str, changes: Sequence[Change], context: RequestContext) -> None:
    check_node(name, context)
    for logger, operation, _ in changes:
        if operation in (APPEND, SUBTRACT):
            raise InvalidRequest(
                f"{OPERATIONS[operation]} operation is not allowed for the BROKER_LOGGER resource"
            )
        raise InvalidConfig(f"Logger {logger} does not exist!")


def _set(changes: Sequence[Change]) -> list[str]:
    """The configs that would be set. Deleting a config that is not set does nothing."""
    return [name for name, operation, _ in changes if operation != DELETE]


def _refuse_all(changes: Sequence[Change], reason: str) -> None:
    names = _set(changes)
    if names:
        raise InvalidRequest(f"Cannot update these configs dynamically: [{', '.join(names)}]: {reason}")
