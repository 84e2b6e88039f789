"""DescribeConfigs of consumer groups and of client metrics subscriptions.

Names, types and defaults are Kafka's (4.4.0). None can be set here, so all have their defaults.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from kgw_core.topics.values import BOOLEAN, DEFAULT_CONFIG, INT, LIST, STRING, ConfigEntry, Synonym


class ResourceConfig(NamedTuple):
    """One config. ``broker_name`` is the broker config that gives its default, or None."""

    type: int
    default: str
    doc: str
    broker_name: str | None = None


def describe_resource(
    configs: dict[str, ResourceConfig], names: Collection[str] | None = None
) -> list[ConfigEntry]:
    """An entry for each of ``configs``, in the order of names. ``names`` selects some (None or empty:
    all)."""
    return [
        ConfigEntry(
            name,
            config.default,
            DEFAULT_CONFIG,
            True,
            False,
            config.type,
            config.doc,
            (Synonym(config.broker_name, config.default, DEFAULT_CONFIG),) if config.broker_name else (),
        )
        for name, config in sorted(configs.items())
        if not names or name in names
    ]


def _group(name: str, type: int, default: str, doc: str, broker_name: str | None = None) -> None:
    GROUP_CONFIGS[name] = ResourceConfig(type, default, doc, broker_name or f"group.{name}")


CLIENT_METRICS_CONFIGS = {
    "interval.ms": ResourceConfig(INT, "300000", "Time between two pushes of a client's metrics."),
    "match": ResourceConfig(LIST, "", "Which clients the subscription is for."),
    "metrics": ResourceConfig(LIST, "", "What the names of the metrics to be pushed begin with."),
}
"""Configs of a client metrics subscription (KIP-714)."""

GROUP_CONFIGS: dict[str, ResourceConfig] = {}
"""Configs of a group of the protocols after the classic one (KIP-848, KIP-932, KIP-1071)."""

for _kind, _called in (
    ("consumer", "consumer group"),
    ("share", "share group"),
    ("streams", "streams group"),
):
    _group(f"{_kind}.assignment.interval.ms", INT, "1000", f"Time between two assignments of a {_called}.")
    _group(f"{_kind}.heartbeat.interval.ms", INT, "5000", f"Time between heartbeats of a {_called}'s member.")
    _group(f"{_kind}.session.timeout.ms", INT, "45000", f"Silence after which a {_called}'s member is out.")
_group("share.delivery.count.limit", INT, "5", "How often a record is delivered before it is given up.")
_group("share.partition.max.record.locks", INT, "2000", "Records of a partition that may be locked at once.")
_group("share.record.lock.duration.ms", INT, "30000", "How long a record stays with the member that took it.")
_group("streams.assignor.name", STRING, "sticky", "How tasks are assigned.", "group.streams.assignors")
_group("streams.initial.rebalance.delay.ms", INT, "3000", "How long a new group waits for more members.")
_group("streams.num.standby.replicas", INT, "0", "Standby copies of each task.")
_group("streams.rack.aware.assignment.tags", LIST, "", "Client tags that standby copies are spread over.")
for _name, _type, _default, _doc in (
    ("errors.deadletterqueue.copy.record.enable", BOOLEAN, "false", "Whether the whole record goes there."),
    ("errors.deadletterqueue.topic.name", STRING, "", "Topic for records that could not be processed."),
    ("share.auto.offset.reset", STRING, "latest", "Where a share group begins to read."),
    ("share.isolation.level", STRING, "read_uncommitted", "Whether open transactions hold back reading."),
    ("share.renew.acknowledge.enable", BOOLEAN, "true", "Whether a member may keep a record for longer."),
):
    _group(_name, _type, _default, _doc, _name)
