"""DescribeConfigs of a broker: the configs that admin tools look for, by Kafka's names.

A value is that of the strongest level, else a fixed value of kgw, else Kafka's default, which has no effect
here.
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
    """The configs that are set for all brokers (the resource with the empty name), in the order of names."""
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
    """The entries in the order of their names. ``names`` selects configs (None or empty: all).

    Unknown names are ignored.
    """
    return [_entry(config, levels) for name, config in BROKER_CONFIGS.items() if not names or name in names]


def _entry(config: BrokerConfig, levels: Sequence[Level]) -> ConfigEntry:
    found = _synonyms(config, levels)
    sensitive = config.type == PASSWORD
    if sensitive:
        found = [Synonym(each.name, None, each.source) for each in found]
    value = found[0].value if found else None
    definition = DYNAMIC_CONFIGS.get(config.name)
    if definition is not None and value is not None:
        value = to_text(parse(definition, value))
    return ConfigEntry(
        config.name,
        value,
        found[0].source if found else DEFAULT_CONFIG,
        definition is None,
        sensitive,
        config.type,
        config.doc,
        tuple(found),
    )


def _synonyms(config: BrokerConfig, levels: Sequence[Level]) -> list[Synonym]:
    """What can give the config its value, from the first that has its own name, as Kafka tells it."""
    family = _FAMILIES.get(config.name, [config.name])
    found = synonyms(family, levels)
    if config.here is not None and config.here != config.default:
        found.append(Synonym(config.name, config.here, STATIC_BROKER_CONFIG))
    for name in family:
        default = BROKER_CONFIGS[name].default if name in BROKER_CONFIGS else None
        if default is not None:
            found.append(Synonym(name, default, DEFAULT_CONFIG))
    own = [number for number, each in enumerate(found) if each.name == config.name]
    return found[own[0] :] if own else []
