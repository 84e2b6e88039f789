"""Applies the configs that are set at run time to the parts of a running gateway."""

from __future__ import annotations

from typing import cast

from kgw_core.config import Config
from kgw_core.configs.dynamic import DynamicConfigs
from kgw_core.log.manager import PRODUCER_EXPIRATION_MS, LogManager
from kgw_core.log.partition import PartitionLog
from kgw_core.server.server import Server
from kgw_core.topics.catalog import Catalog
from kgw_core.topics.configs import topic_defaults
from kgw_core.topics.dynamic_configs import (
    COMPACTION_PAUSE,
    CONNECTIONS,
    CONNECTIONS_PER_ADDRESS,
    PRODUCER_EXPIRATION,
)


async def reconfigure(
    settings: Config,
    configs: DynamicConfigs,
    catalog: Catalog[PartitionLog],
    logs: LogManager,
    server: Server,
) -> None:
    """Apply ``configs``. Values that they do not set are those of ``settings``."""
    values = cast("dict[str, int]", configs.typed)
    limits = settings.limits
    server.limit_connections(
        values.get(CONNECTIONS, limits.max_connections),
        values.get(CONNECTIONS_PER_ADDRESS, limits.max_connections_per_address),
    )
    pause = values.get(COMPACTION_PAUSE)
    logs.compaction.interval = settings.topics.compaction_check_interval if pause is None else pause / 1000
    logs.expire_producers_after(values.get(PRODUCER_EXPIRATION, PRODUCER_EXPIRATION_MS))
    await catalog.set_defaults(topic_defaults(configs.levels))
