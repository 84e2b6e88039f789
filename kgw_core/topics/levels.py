"""Kafka's config sources: the levels that can set a config, and the synonyms for DescribeConfigs.

The strongest level comes first, as in Kafka's synonyms of a config. If a level has several names of a config
(``log.retention.ms``, ``log.retention.hours``), the first name that it sets counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kgw_core.topics.values import Synonym


class Level(NamedTuple):
    """A level. ``values`` are texts by Kafka's broker names, ``source`` is the code for DescribeConfigs."""

    source: int
    values: Mapping[str, str]


def merged(levels: Sequence[Level]) -> dict[str, str]:
    """The value of each name in the strongest level that sets it."""
    values: dict[str, str] = {}
    for level in reversed(levels):
        values |= level.values
    return values


def synonyms(names: Sequence[str], levels: Iterable[Level]) -> list[Synonym]:
    """All values that the levels set for the config with these ``names``, the effective one first."""
    return [
        Synonym(name, level.values[name], level.source)
        for level in levels
        for name in names
        if name in level.values
    ]
