"""The resources that have configs, and the rules of changing them: shared by the APIs about configs.

Only topics' configs can be changed. For the others the answer is Kafka's for a config that is read-only, and
to delete what is not set does nothing, as in Kafka.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidConfig, InvalidRequest
from kgw_core.topics.configs import APPEND, DELETE, SET, SUBTRACT, altered
from kgw_core.topics.names import check_name
from kgw_core.topics.resource_configs import CLIENT_METRICS_CONFIGS, GROUP_CONFIGS

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
RESOURCE_TYPES = (TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP)

Change = tuple[str, int, str | None]
"""Name of the config, operation, value."""

_OPERATIONS = {SET: "SET", DELETE: "DELETE", APPEND: "APPEND", SUBTRACT: "SUBTRACT"}


def repeated(resources: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those (type, name) that are there more than once."""
    return {resource for resource, times in Counter(resources).items() if times > 1}


def check_node(name: str, context: RequestContext) -> None:
    """Return if ``name`` is this broker's id. :raises InvalidRequest: it is not."""
    try:
        node = int(name)
    except ValueError:
        raise InvalidRequest(f"Node id must be an integer, but it is: {name}") from None
    if node != context.broker.placement.node_id:
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
    """Change the configs of one resource, or only check. ``replace``: what is not named is no longer set.

    :raises InvalidRequest: an unknown type or operation, a config twice, a null, or what cannot be changed.
    :raises InvalidConfig: a config or a value that is none.
    :raises KafkaError: as :meth:`kgw_core.topics.catalog.Catalog.alter`.
    """
    if repeated([(0, name) for name, _, _ in changes]):
        raise InvalidRequest("Error due to duplicate config keys")
    nulls = [name for name, operation, value in changes if value is None and operation != DELETE]
    if nulls:
        raise InvalidRequest(f"Null value not supported for : {', '.join(nulls)}")
    unknown = [operation for _, operation, _ in changes if operation not in _OPERATIONS]
    if unknown:
        raise InvalidRequest(f"Unknown operations type {unknown[0]}")
    if kind == TOPIC:
        await _change_topic(name, changes, context, replace, check_only)
    elif kind == BROKER:
        if name:
            check_node(name, context)
        _refuse_all(changes, "the gateway is configured by its file and environment")
    elif kind == BROKER_LOGGER and not replace:
        _change_loggers(name, changes, context)
    elif kind == CLIENT_METRICS:
        if not name:
            raise InvalidRequest("Subscription name can't be empty")
        for config, _, _ in changes:
            if config not in CLIENT_METRICS_CONFIGS:
                raise InvalidRequest(f"Unknown client metrics configuration: {config}")
        _refuse_all(changes, "the gateway takes no client metrics")
    elif kind == GROUP:
        if not name:
            raise InvalidRequest("Default group resources are not allowed.")
        for config, _, _ in changes:
            if config not in GROUP_CONFIGS:
                raise InvalidConfig(f"Unknown group config name: {config}")
        _refuse_all(changes, "groups have no configs of their own here")
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


def _change_loggers(name: str, changes: Sequence[Change], context: RequestContext) -> None:
    check_node(name, context)
    for logger, operation, _ in changes:
        if operation in (APPEND, SUBTRACT):
            raise InvalidRequest(
                f"{_OPERATIONS[operation]} operation is not allowed for the BROKER_LOGGER resource"
            )
        raise InvalidConfig(f"Logger {logger} does not exist!")


def _refuse_all(changes: Sequence[Change], reason: str) -> None:
    names = [name for name, operation, _ in changes if operation != DELETE]
    if names:
        raise InvalidRequest(f"Cannot update these configs dynamically: [{', '.join(names)}]: {reason}")
