"""Kafka's dynamic broker configs: those that have an effect here, and the validation of changes.

Kafka's rules (KIP-226): a change is for this broker, or for all brokers if the name is empty. One invalid
name or value refuses the whole change with INVALID_REQUEST, and APPEND or SUBTRACT on a config that is no
list with INVALID_CONFIG. Kafka accepts unknown names and names without an effect; kgw refuses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kgw_core.errors import InvalidConfig, InvalidRequest
from kgw_core.topics.broker_config_table import BROKER_CONFIGS
from kgw_core.topics.changes import Change, applied
from kgw_core.topics.configs import topic_defaults, validate
from kgw_core.topics.definitions import TOPIC_CONFIGS
from kgw_core.topics.levels import Level, merged
from kgw_core.topics.values import LIST, Definition, Value, parse, to_text

COMPACTION_PAUSE = "log.cleaner.backoff.ms"
CONNECTIONS = "max.connections"
CONNECTIONS_PER_ADDRESS = "max.connections.per.ip"
PRODUCER_EXPIRATION = "producer.id.expiration.ms"


def _default_of_topics(definition: Definition) -> Definition:
    """The broker config that is the default of a topic config. Its rules are the same, except for
    log.retention.ms."""
    name = definition.synonyms[0][0]
    forever = name == "log.retention.ms"
    return Definition(
        name,
        definition.type,
        definition.default,
        f"Default of the topic config {definition.name}.",
        low=1 if forever else definition.low,
        high=definition.high,
        also=-1 if forever else definition.also,
        choices=definition.choices,
        check=definition.check,
        words=definition.words,
        effective=True,
    )


def _own(name: str) -> Definition:
    config = BROKER_CONFIGS[name]
    return Definition(name, config.type, config.default, config.doc, low=1, effective=True)


_ALL = (
    *map(_own, (COMPACTION_PAUSE, CONNECTIONS, CONNECTIONS_PER_ADDRESS, PRODUCER_EXPIRATION)),
    *(
        _default_of_topics(definition)
        for definition in TOPIC_CONFIGS.values()
        if definition.effective and not definition.obsolete
    ),
)
DYNAMIC_CONFIGS: dict[str, Definition] = {
    definition.name: definition for definition in sorted(_ALL, key=lambda each: each.name)
}
"""The definitions by broker name, in the order of names."""


def altered(values: Mapping[str, str], changes: Iterable[Change], below: Level) -> dict[str, str]:
    """The dynamic configs after ``changes``. The caller passes the result to :func:`checked`.

    APPEND and SUBTRACT apply to the dynamic value, else to that of ``below``, the gateway's settings.

    :raises InvalidRequest: a name occurs twice, a value is null, or an operation is unknown.
    :raises InvalidConfig: APPEND or SUBTRACT is applied to a config that is no list, or a name is unknown.
    """

    def items(name: str) -> Iterable[str]:
        config = BROKER_CONFIGS.get(name)
        if config is None:
            raise InvalidConfig(f"Unknown config name: {name}")
        if config.type != LIST:
            raise InvalidConfig(f"Config value append or subtract is not allowed for config key: {name}")
        text = values.get(name, below.values.get(name, config.default or ""))
        return [item.strip() for item in text.split(",") if item.strip()]

    return applied(values, changes, items)


def checked(values: Mapping[str, str], levels: Sequence[Level]) -> dict[str, str]:
    """``values`` in their stored form, if they may be set at run time. ``levels`` are those after the change.

    :raises InvalidRequest: a config cannot change at run time, or a value is invalid.
    """
    refused = sorted(set(values).difference(DYNAMIC_CONFIGS))
    if refused:
        raise InvalidRequest(
            f"Cannot update these configs dynamically: [{', '.join(refused)}]{_why(refused)}"
        )
    try:
        stored = {name: to_text(parse(DYNAMIC_CONFIGS[name], text)) for name, text in values.items()}
        validate({}, topic_defaults(levels))
    except InvalidConfig as error:
        raise InvalidRequest(str(error)) from None
    return stored


def usable(values: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The valid part of the stored ``values``, and the problems of the rest."""
    valid: dict[str, str] = {}
    problems: list[str] = []
    for name, text in values.items():
        try:
            valid |= checked({name: text}, [])
        except InvalidRequest as error:
            problems.append(str(error))
    return valid, problems


def typed(levels: Sequence[Level]) -> dict[str, Value]:
    """The effective dynamic values of ``levels`` by name."""
    return {name: parse(DYNAMIC_CONFIGS[name], text) for name, text in merged(levels).items()}


def _why(names: Sequence[str]) -> str:
    """A hint for a user who named a config that cannot change at run time."""
    for name in names:
        if name in TOPIC_CONFIGS and TOPIC_CONFIGS[name].synonyms:
            return f": of brokers, {name} is called {TOPIC_CONFIGS[name].synonyms[0][0]}"
        if name not in BROKER_CONFIGS:
            return f": the gateway knows no broker config {name}"
    return ": the gateway takes them from its file and environment, or they have no effect here"
