"""The cluster's feature levels (KIP-584), for ApiVersions and UpdateFeatures.

A feature is advertised only when it is built, as clients act on it: a Java producer that sees
``transaction.version`` 2 expects the broker to raise its epoch. ``metadata.version`` and ``kraft.version``
are formats of Kafka's metadata log, which kgw does not have, so they are never advertised. User interfaces
that derive Kafka's release from ``metadata.version`` first look for the broker config
``inter.broker.protocol.version``, which kgw has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kgw_core.errors import InvalidUpdateVersion

UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE = 1, 2, 3
"""The upgrade types of UpdateFeatures."""


class Feature(NamedTuple):
    """A feature. It supports levels ``lowest`` to ``highest``, and ``level`` is in force."""

    name: str
    lowest: int
    highest: int
    level: int


FEATURES: tuple[Feature, ...] = ()
"""The features that are built: none so far."""


class Features:
    """The features of a running gateway. Their levels do not change while it runs.

    ``epoch`` is larger after each start, as clients ignore features with an epoch that they know already.
    """

    def __init__(self, epoch: int, table: Sequence[Feature] = FEATURES) -> None:
        self.epoch = epoch
        self.table = {feature.name: feature for feature in table}

    def check(self, name: str, level: int, upgrade_type: int) -> None:
        """Return if the feature has that level already.

        :raises InvalidUpdateVersion: the update is not possible; the message has the reason.
        """
        why = self._refusal(name, level, upgrade_type)
        if why is not None:
            raise InvalidUpdateVersion(f"Invalid update version {level} for feature {name}. {why}")

    def _refusal(self, name: str, level: int, upgrade_type: int) -> str | None:
        if upgrade_type not in (UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE):
            return "The controller does not support the given upgrade type."
        if level < 0:
            return "A feature version cannot be less than 0."
        feature = self.table.get(name)
        if feature is None:
            return (
                f"Feature {name} not found." if level == 0 else "This gateway does not support this feature."
            )
        if not feature.lowest <= level <= feature.highest:
            return f"This gateway only supports versions {feature.lowest}-{feature.highest}"
        if level < feature.level and upgrade_type == UPGRADE:
            return (
                "Can't downgrade the version of this feature without setting the upgrade type to either safe "
                "or unsafe downgrade."
            )
        if level > feature.level and upgrade_type != UPGRADE:
            return "Can't downgrade to a newer version."
        return None if level == feature.level else "Its level does not change while the gateway runs."
