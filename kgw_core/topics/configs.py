"""Topic configs: validates them, resolves them to typed values, and describes them for admin tools.

A config's value comes from the topic's own ``overrides``, else from ``broker_defaults`` (the gateway's
settings for all topics), else it is Kafka's default. Both have Kafka's names and values as text.
``broker_defaults`` takes topic names (``retention.ms``) and their broker synonyms (``log.retention.hours``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from kgw_core.errors import InvalidConfig
from kgw_core.topics.changes import Change, applied
from kgw_core.topics.definitions import TOPIC_CONFIGS
from kgw_core.topics.levels import Level, merged, synonyms
from kgw_core.topics.values import (
    DEFAULT_CONFIG,
    DYNAMIC_TOPIC_CONFIG,
    LIST,
    ConfigEntry,
    Definition,
    Synonym,
    Value,
    parse,
    to_text,
)

_NOTHING: Mapping[str, str] = {}
_DEFAULTS: dict[str, Value] = {
    definition.name: parse(definition, definition.default or "") for definition in TOPIC_CONFIGS.values()
}
_BY_BROKER_NAME = {
    name: (definition, factor)
    for definition in TOPIC_CONFIGS.values()
    for name, factor in definition.synonyms
}


class TopicConfigs:
    """The effective configs of a topic as plain, immutable attributes.

    Times are in milliseconds, sizes in bytes. -1 is no limit, and a time of 2**63 - 1 is for ever.
    """

    __slots__ = (
        "compact",
        "compression_gzip_level",
        "compression_lz4_level",
        "compression_type",
        "compression_zstd_level",
        "delete",
        "delete_retention_ms",
        "downconversion",
        "file_delete_delay_ms",
        "flush_messages",
        "flush_ms",
        "log_append_time",
        "max_compaction_lag_ms",
        "max_decompressed_bytes",
        "max_message_bytes",
        "min_cleanable_dirty_ratio",
        "min_compaction_lag_ms",
        "min_insync_replicas",
        "retention_bytes",
        "retention_ms",
        "rewrites",
        "segment_bytes",
        "segment_jitter_ms",
        "segment_ms",
        "timestamp_after_max_ms",
        "timestamp_before_max_ms",
    )

    compression_type: str
    """``producer`` (keep the batch's codec), ``uncompressed``, ``gzip``, ``snappy``, ``lz4`` or ``zstd``."""
    rewrites: bool
    """Whether an append changes more of a batch than its offset and epoch: LogAppendTime or a codec."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """``values`` are the typed values of all configs by name."""
        policy: tuple[str, ...] = values["cleanup.policy"]
        self.compact = "compact" in policy
        self.delete = "delete" in policy
        self.compression_type = values["compression.type"]
        self.compression_gzip_level: int = values["compression.gzip.level"]
        self.compression_lz4_level: int = values["compression.lz4.level"]
        self.compression_zstd_level: int = values["compression.zstd.level"]
        self.delete_retention_ms: int = values["delete.retention.ms"]
        self.downconversion: bool = values["message.downconversion.enable"]
        self.file_delete_delay_ms: int = values["file.delete.delay.ms"]
        self.flush_messages: int = values["flush.messages"]
        self.flush_ms: int = values["flush.ms"]
        self.log_append_time: bool = values["message.timestamp.type"] == "LogAppendTime"
        self.max_compaction_lag_ms: int = values["max.compaction.lag.ms"]
        self.max_decompressed_bytes: int = values["max.decompressed.message.bytes"]
        self.max_message_bytes: int = values["max.message.bytes"]
        self.min_cleanable_dirty_ratio: float = values["min.cleanable.dirty.ratio"]
        self.min_compaction_lag_ms: int = values["min.compaction.lag.ms"]
        self.min_insync_replicas: int = values["min.insync.replicas"]
        self.retention_bytes: int = values["retention.bytes"]
        self.retention_ms: int = values["retention.ms"]
        self.segment_bytes: int = values["segment.bytes"]
        self.segment_jitter_ms: int = values["segment.jitter.ms"]
        self.segment_ms: int = values["segment.ms"]
        self.timestamp_after_max_ms: int = values["message.timestamp.after.max.ms"]
        self.timestamp_before_max_ms: int = values["message.timestamp.before.max.ms"]
        self.rewrites = self.log_append_time or self.compression_type != "producer"

    @classmethod
    def of(
        cls, overrides: Mapping[str, str] = _NOTHING, broker_defaults: Mapping[str, str] = _NOTHING
    ) -> TopicConfigs:
        """The effective configs.

        :raises InvalidConfig: either mapping has an unknown name or an invalid value.
        """
        return cls(_effective(overrides, broker_defaults))


def validate(configs: Mapping[str, str | None], broker_defaults: Mapping[str, str] = _NOTHING) -> None:
    """Return if a topic may have ``configs`` over ``broker_defaults``.

    :raises InvalidConfig: a name is unknown, a value is null or invalid, or values contradict each other. The
        message has the config, the value and the allowed values.
    """
    nulls = [name for name, text in configs.items() if text is None]
    if nulls:
        raise InvalidConfig(f"Null value not supported for topic configs: {','.join(nulls)}")
    values = _effective({name: text for name, text in configs.items() if text is not None}, broker_defaults)
    least, most = "min.compaction.lag.ms", "max.compaction.lag.ms"
    if values[least] > values[most]:  # type: ignore[operator] # both whole numbers
        raise InvalidConfig(
            f"conflict topic config setting: {least} ({values[least]}) must not be more than "
            f"{most} ({values[most]})"
        )


def usable(configs: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The valid part of ``configs``, and the problems of the rest.

    Contradicting values count as valid, as the defaults may have changed since they were set.
    """
    valid: dict[str, str] = {}
    problems: list[str] = []
    for name, text in configs.items():
        try:
            parse(_definition(name), text)
        except InvalidConfig as error:
            problems.append(str(error))
        else:
            valid[name] = text
    return valid, problems


def altered(
    overrides: Mapping[str, str],
    changes: Iterable[Change],
    broker_defaults: Mapping[str, str] = _NOTHING,
) -> dict[str, str]:
    """``overrides`` after the ``changes`` of IncrementalAlterConfigs.

    The caller passes the result to :func:`validate`. APPEND and SUBTRACT apply to the effective list.

    :raises InvalidConfig: APPEND or SUBTRACT is applied to a config that is no list, or a name is unknown.
    :raises InvalidRequest: a name occurs twice, a value is null, or an operation is unknown.
    """

    def items(name: str) -> Iterable[str]:
        if _definition(name).type != LIST:
            raise InvalidConfig(f"Can't append to or subtract from config {name}: its type is not LIST")
        before = _effective(overrides, broker_defaults)[name]
        return before if isinstance(before, tuple) else ()

    return applied(overrides, changes, items)


def describe(
    overrides: Mapping[str, str],
    levels: Sequence[Level] = (),
    names: Collection[str] | None = None,
) -> list[ConfigEntry]:
    """A topic's configs for DescribeConfigs and CreateTopics, in the order of their names.

    ``levels`` have the configs that the topic does not set, by broker names. ``names`` selects configs (None
    or empty: all). As in Kafka, unknown names are ignored. Obsolete configs appear only if they are set or
    named.

    :raises InvalidConfig: an override is invalid.
    """
    given = _given(topic_defaults(levels))
    entries = []
    for name, definition in TOPIC_CONFIGS.items():
        if names and name not in names:
            continue
        if definition.obsolete and not names and name not in overrides and name not in given:
            continue
        found = _synonyms(definition, levels)
        if name in overrides:
            text = to_text(parse(definition, overrides[name]))
            found.insert(0, Synonym(name, text, DYNAMIC_TOPIC_CONFIG))
        else:
            text = to_text(given[name][0][2] if name in given else _DEFAULTS[name])
        source = found[0].source if found else DEFAULT_CONFIG
        entries.append(
            ConfigEntry(name, text, source, False, False, definition.type, definition.doc, tuple(found))
        )
    return entries


def topic_defaults(levels: Sequence[Level]) -> dict[str, str]:
    """The part of ``levels`` that are defaults of topics, by broker names."""
    values = merged(levels)
    return {name: text for name, text in values.items() if name in _BY_BROKER_NAME or name in TOPIC_CONFIGS}


def as_broker_configs(broker_defaults: Mapping[str, str]) -> dict[str, str]:
    """``broker_defaults`` by their broker names, as in a :class:`~.levels.Level`.

    :raises InvalidConfig: a name is unknown or a value invalid.
    """
    return {name: text for places in _given(broker_defaults).values() for name, text, _ in places}


def _effective(overrides: Mapping[str, str], broker_defaults: Mapping[str, str]) -> dict[str, Value]:
    """The typed values of all configs by name. :raises InvalidConfig: as :func:`validate`."""
    values = dict(_DEFAULTS)
    given = _given(broker_defaults) if broker_defaults else {}
    for name, places in given.items():
        values[name] = places[0][2]
    for name, text in overrides.items():
        values[name] = parse(_definition(name), text)
    difference = "message.timestamp.difference.max.ms"
    if difference in overrides or difference in given:
        for name in ("message.timestamp.before.max.ms", "message.timestamp.after.max.ms"):
            if name not in overrides and name not in given:
                values[name] = values[difference]
    return values


def _given(broker_defaults: Mapping[str, str]) -> dict[str, list[tuple[str, str, Value]]]:
    """For each topic config: (broker name, text, topic value) of all that set it. The first one counts."""
    given: dict[str, list[tuple[str, str, Value]]] = {}
    for called, text in broker_defaults.items():
        definition, factor = _BY_BROKER_NAME.get(called) or (_definition(called, _BY_BROKER_NAME), 1)
        name = definition.synonyms[0][0] if called == definition.name and definition.synonyms else called
        value = parse(definition, text, called)
        if factor != 1 and isinstance(value, int) and value >= 0:
            value = parse(definition, str(value * factor), f"{called} in milliseconds")
        given.setdefault(definition.name, []).append((name, text, value))
    for name, places in given.items():
        order = [synonym for synonym, _ in TOPIC_CONFIGS[name].synonyms]
        places.sort(key=lambda place: order.index(place[0]) if place[0] in order else 0)
    return given


def _synonyms(definition: Definition, levels: Sequence[Level]) -> list[Synonym]:
    """The synonyms of a config except the topic's own value.

    As in Kafka, the default of a config with several broker names (``log.retention.hours`` of
    ``retention.ms``) appears only beside a value that is set.
    """
    names = [name for name, _ in definition.synonyms] or [definition.name]
    found = synonyms(names, levels)
    if definition.synonyms and (found or len(names) == 1):
        name, factor = definition.synonyms[-1]
        default = _DEFAULTS[definition.name]
        if factor != 1 and isinstance(default, int):
            default //= factor
        found.append(Synonym(name, to_text(default), DEFAULT_CONFIG))
    return found


def _definition(name: str, others: Iterable[str] = ()) -> Definition:
    definition = TOPIC_CONFIGS.get(name)
    if definition is None:
        import difflib  # only when something is wrong

        close = difflib.get_close_matches(name.lower().replace("_", "."), [*TOPIC_CONFIGS, *others], 1)
        meant = f". Did you mean {close[0]}?" if close else ""
        raise InvalidConfig(f"Unknown topic config name: {name}{meant}")
    return definition
