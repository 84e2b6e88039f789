"""Kafka's static broker configs (its server.properties), derived from the gateway's own settings."""

from __future__ import annotations

from collections.abc import Collection

from kgw_core.config import Config
from kgw_core.topics.broker_config_table import BROKER_CONFIGS
from kgw_core.topics.configs import as_broker_configs
from kgw_core.topics.levels import Level
from kgw_core.topics.values import STATIC_BROKER_CONFIG


def static_level(config: Config, given: Collection[str] = ()) -> Level:
    """The static level: values that differ from Kafka's defaults, and those of the settings ``given``.

    ``given`` are the settings that somebody wrote down, as ``topics.num_partitions``.
    """
    values = {
        name: text
        for name, text in broker_values(config).items()
        if text != BROKER_CONFIGS[name].default or BROKER_CONFIGS[name].setting in given
    }
    return Level(STATIC_BROKER_CONFIG, values | as_broker_configs(config.topics.defaults))


def broker_values(config: Config) -> dict[str, str]:
    """The values of Kafka's broker configs by name, from the settings: sizes in bytes, times in ms."""
    limits, groups = config.limits, config.groups
    per_address = limits.max_connections_per_address
    values = {
        "auto.create.topics.enable": str(config.topics.auto_create).lower(),
        "broker.id": str(config.node_id),
        "connections.max.idle.ms": str(round(limits.idle_timeout * 1000)),
        "fetch.max.bytes": str(limits.fetch_max_bytes),
        "group.initial.rebalance.delay.ms": str(round(groups.initial_rebalance_delay * 1000)),
        "group.max.session.timeout.ms": str(round(groups.max_session_timeout * 1000)),
        "group.min.session.timeout.ms": str(round(groups.min_session_timeout * 1000)),
        "log.cleaner.backoff.ms": str(round(config.topics.compaction_check_interval * 1000)),
        "log.retention.check.interval.ms": str(round(config.topics.retention_check_interval * 1000)),
        "listeners": ",".join(
            f"{listener.name}://{listener.host}:{listener.port}" for listener in config.listeners
        ),
        "max.connections": str(limits.max_connections),
        "max.incremental.fetch.session.cache.slots": str(limits.max_fetch_sessions),
        "max.connections.per.ip": str(limits.max_connections if per_address is None else per_address),
        "node.id": str(config.node_id),
        "num.partitions": str(config.topics.num_partitions),
        "offset.metadata.max.bytes": str(groups.offset_metadata_max_size),
        "offsets.retention.check.interval.ms": str(round(groups.offsets_check_interval * 1000)),
        "offsets.retention.minutes": str(round(groups.offsets_retention / 60)),
        "socket.request.max.bytes": str(limits.max_request_size),
    }
    advertised = [f"{each.name}://{each.advertise}" for each in config.listeners if each.advertise]
    if advertised:
        values["advertised.listeners"] = ",".join(advertised)
    if groups.max_size is not None:
        values["group.max.size"] = str(groups.max_size)
    if config.rack is not None:
        values["broker.rack"] = config.rack
    return values
