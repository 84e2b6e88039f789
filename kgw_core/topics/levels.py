"""Where a config's value comes from: the levels that can set it, and what DescribeConfigs tells of them.

The strongest level comes first, as Kafka orders the synonyms of a config. Where a level knows a config by
several names (``log.retention.ms``, ``log.retention.hours``), the first of them that it sets counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kgw_core.topics.values import Synonym


class Level(NamedTuple):
    """``values`` are texts by Kafka's broker names, ``source`` is the code that DescribeConfigs tells."""

    source: int
    values: Mapping[str, str]


def merged(levels: Sequence[Level]) -> dict[str, str]:
    """The value of each name that any level sets: that of the strongest."""
    values: dict[str, str] = {}
    for level in reversed(levels):
        values |= level.values
    return values


def synonyms(names: Sequence[str], levels: Iterable[Level]) -> list[Synonym]:
    """Each value that a level sets for the config that is known by ``names``, the one that counts first."""
    return [
        Synonym(name, level.values[name], level.source)
        for level in levels
        for name in names
        if name in level.values
    ]
