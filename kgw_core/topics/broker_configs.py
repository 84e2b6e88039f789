"""What DescribeConfigs tells of a broker: the configs that admin tools look for, by Kafka's names.

A value is what some level sets, else what holds here whatever the settings say, else Kafka's default, which
then has no effect: there is no such thing here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kgw_core.topics.broker_config_table import BROKER_CONFIGS, BrokerConfig
from kgw_core.topics.definitions import TOPIC_CONFIGS
from kgw_core.topics.dynamic_configs import DYNAMIC_CONFIGS
from kgw_core.topics.levels import Level, synonyms
from kgw_core.topics.values import (
    DEFAULT_CONFIG,
    PASSWORD,
    STATIC_BROKER_CONFIG,
    ConfigEntry,
    Synonym,
    parse,
    to_text,
)

_FAMILIES = {
    name: [name for name, _ in definition.synonyms]
    for definition in TOPIC_CONFIGS.values()
    for name, _ in definition.synonyms
    if len(definition.synonyms) > 1
}
"""Of a name that stands in for others or they for it (``log.retention.ms``, ``log.retention.hours``): all."""


def describe_all_brokers(level: Level, names: Collection[str] | None = None) -> list[ConfigEntry]:
    """What is told of the resource that stands for all brokers: what is set on it, in the order of names."""
    return [
        ConfigEntry(
            name,
            text,
            level.source,
            False,
            False,
            DYNAMIC_CONFIGS[name].type,
            BROKER_CONFIGS[name].doc,
            (Synonym(name, text, level.source),),
        )
        for name, text in sorted(level.values.items())
        if not names or name in names
    ]


def describe_broker(levels: Sequence[Level] = (), names: Collection[str] | None = None) -> list[ConfigEntry]:
    """The entries in the order of their names; ``names`` limits them to these (None or none: all).

    Names that are not in the table are left out.
    """
    return [_entry(config, levels) for name, config in BROKER_CONFIGS.items() if not names or name in names]


def _entry(config: BrokerConfig, levels: Sequence[Level]) -> ConfigEntry:
    told = _synonyms(config, levels)
    sensitive = config.type == PASSWORD
    if sensitive:
        told = [Synonym(each.name, None, each.source) for each in told]
    value = told[0].value if told else None
    definition = DYNAMIC_CONFIGS.get(config.name)
    if definition is not None and value is not None:
        value = to_text(parse(definition, value))
    return ConfigEntry(
        config.name,
        value,
        told[0].source if told else DEFAULT_CONFIG,
        definition is None,
        sensitive,
        config.type,
        config.doc,
        tuple(told),
    )


def _synonyms(config: BrokerConfig, levels: Sequence[Level]) -> list[Synonym]:
    """What can give the config its value, from the first that has its own name, as Kafka tells it."""
    family = _FAMILIES.get(config.name, [config.name])
    told = synonyms(family, levels)
    if config.here is not None and config.here != config.default:
        told.append(Synonym(config.name, config.here, STATIC_BROKER_CONFIG))
    for name in family:
        default = BROKER_CONFIGS[name].default if name in BROKER_CONFIGS else None
        if default is not None:
            told.append(Synonym(name, default, DEFAULT_CONFIG))
    own = [number for number, each in enumerate(told) if each.name == config.name]
    return told[own[0] :] if own else []
