"""Which broker configs change at run time, and what they may be: those of Kafka's that have an effect here.

Kafka's rules (KIP-226): a change concerns this broker, or all brokers of the cluster where its name is empty.
One name or value that is not allowed refuses the whole change, as INVALID_REQUEST, but for lists that are
none: INVALID_CONFIG. Kafka takes names that it does not know, and those without an effect; here they are
refused.
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
    """The broker config that stands in for a topic's, under the same rules but for log.retention.ms."""
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
"""By broker's name, in the order of names."""


def altered(values: Mapping[str, str], changes: Iterable[Change], below: Level) -> dict[str, str]:
    """What is set at run time, after ``changes`` to it; it still has to pass :func:`checked`.

    APPEND and SUBTRACT start from what is set here, else from what ``below``, the gateway's settings, say.

    :raises InvalidRequest: a name twice, a null where a value is needed, an unknown operation.
    :raises InvalidConfig: APPEND or SUBTRACT on what is not a list, or is no config.
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
    """``values`` as they are kept, if they may be set at run time: ``levels`` is what there would be then.

    :raises InvalidRequest: a config that does not change at run time, or a value that is not allowed.
    """
    refused = sorted(set(values).difference(DYNAMIC_CONFIGS))
    if refused:
        raise InvalidRequest(
            f"Cannot update these configs dynamically: [{', '.join(refused)}]{_why(refused)}"
        )
    try:
        kept = {name: to_text(parse(DYNAMIC_CONFIGS[name], text)) for name, text in values.items()}
        validate({}, topic_defaults(levels))
    except InvalidConfig as error:
        raise InvalidRequest(str(error)) from None
    return kept


def usable(values: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The part of ``values``, which were kept, that has an effect still; and what is wrong with the rest."""
    kept: dict[str, str] = {}
    problems: list[str] = []
    for name, text in values.items():
        try:
            kept |= checked({name: text}, [])
        except InvalidRequest as error:
            problems.append(str(error))
    return kept, problems


def typed(levels: Sequence[Level]) -> dict[str, Value]:
    """What ``levels`` set at run time: the value that counts, by name."""
    return {name: parse(DYNAMIC_CONFIGS[name], text) for name, text in merged(levels).items()}


def _why(names: Sequence[str]) -> str:
    """What helps whoever named a config that does not change."""
    for name in names:
        if name in TOPIC_CONFIGS and TOPIC_CONFIGS[name].synonyms:
            return f": of brokers, {name} is called {TOPIC_CONFIGS[name].synonyms[0][0]}"
        if name not in BROKER_CONFIGS:
            return f": the gateway knows no broker config {name}"
    return ": the gateway takes them from its file and environment, or they have no effect here"
