"""What DescribeConfigs tells of a broker: the configs that admin tools look for, by Kafka's names.

A value is what the gateway passes in from its own settings, else what holds here whatever the settings say,
else Kafka's default, which then has no effect: there is no such thing here. All are read-only: the gateway is
configured by its file and environment.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kgw_core.topics.broker_config_table import BROKER_CONFIGS
from kgw_core.topics.values import DEFAULT_CONFIG, PASSWORD, STATIC_BROKER_CONFIG, ConfigEntry, Synonym


def describe_broker(
    values: Mapping[str, str] | None = None, names: Collection[str] | None = None
) -> list[ConfigEntry]:
    """The entries in the order of their names; ``names`` limits them to these (None or none: all).

    ``values`` are the gateway's own, by Kafka's broker names as text; the defaults of topics get these names
    by :func:`kgw_core.topics.configs.as_broker_configs`. Names that are not in the table are left out.
    """
    entries = []
    for name, config in BROKER_CONFIGS.items():
        if names and name not in names:
            continue
        text = (values or {}).get(name, config.here)
        sensitive = config.type == PASSWORD
        synonyms = []
        if text is not None:
            synonyms.append(Synonym(name, None if sensitive else text, STATIC_BROKER_CONFIG))
        if config.default is not None:
            synonyms.append(Synonym(name, None if sensitive else config.default, DEFAULT_CONFIG))
        entries.append(
            ConfigEntry(
                name,
                synonyms[0].value if synonyms else None,
                synonyms[0].source if synonyms else DEFAULT_CONFIG,
                True,
                sensitive,
                config.type,
                config.doc,
                tuple(synonyms),
            )
        )
    return entries
