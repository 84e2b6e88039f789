from __future__ import annotations

import json
from pathlib import Path

import pytest

from kgw_core.errors import InvalidConfig, InvalidRequest
from kgw_core.topics.broker_config_table import BROKER_CONFIGS
from kgw_core.topics.broker_configs import describe_broker
from kgw_core.topics.changes import APPEND, DELETE, SET, SUBTRACT
from kgw_core.topics.configs import (
    TopicConfigs,
    altered,
    as_broker_configs,
    describe,
    usable,
    validate,
)
from kgw_core.topics.definitions import TOPIC_CONFIGS
from kgw_core.topics.dynamic_configs import DYNAMIC_CONFIGS
from kgw_core.topics.levels import Level
from kgw_core.topics.values import (
    DEFAULT_CONFIG,
    DYNAMIC_BROKER_CONFIG,
    DYNAMIC_DEFAULT_BROKER_CONFIG,
    DYNAMIC_TOPIC_CONFIG,
    STATIC_BROKER_CONFIG,
    TYPE_NAMES,
    ConfigEntry,
    Synonym,
)

FOREVER = 2**63 - 1
DEPARTURES = {
    # Kafka takes these and its users would rather it did not.
    ("min.cleanable.dirty.ratio", "NaN"),
    ("min.cleanable.dirty.ratio", "0.5f"),
    # There is no tiered storage: Kafka's broker without it refuses this too, later than LogConfig.validate.
    ("remote.storage.enable", "true"),
    # Kafka 3.x's, still accepted.
    ("message.format.version", "3.0-IV1"),
}


def facts(name: str) -> list[list[str]]:
    lines = (Path(__file__).parent / f"kafka-4.4.0-{name}.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def one(entries: list[ConfigEntry], name: str) -> ConfigEntry:
    return next(entry for entry in entries if entry.name == name)


# -- the tables


def test_the_table_has_every_topic_config_of_kafka_with_its_type_default_and_synonyms() -> None:
    ours = [
        [
            definition.name,
            TYPE_NAMES[definition.type].upper(),
            definition.default,
            ",".join(name for name, _ in definition.synonyms),
        ]
        for definition in TOPIC_CONFIGS.values()
        if not definition.obsolete
    ]
    assert ours == facts("topic-configs")


def test_the_broker_table_agrees_with_kafka_on_types_and_defaults() -> None:
    known = {name: (type_name, default) for name, type_name, default in facts("broker-configs")}
    for config in BROKER_CONFIGS.values():
        if config.name == "inter.broker.protocol.version":
            continue  # gone in Kafka 4, but tools read it
        type_name, default = known[config.name]
        assert TYPE_NAMES[config.type].upper() == type_name, config.name
        assert config.default == (None if default in ("<null>", "<none>") else default), config.name


def test_the_broker_table_has_every_synonym_of_a_topic_config() -> None:
    wanted = {
        name
        for definition in TOPIC_CONFIGS.values()
        if not definition.obsolete
        for name, _ in definition.synonyms
    }
    assert wanted <= set(BROKER_CONFIGS)


@pytest.mark.parametrize("table", [TOPIC_CONFIGS, BROKER_CONFIGS])
def test_tables_are_in_the_order_of_names_and_each_doc_is_one_line(table: dict[str, object]) -> None:
    assert list(table) == sorted(table)
    for entry in table.values():
        doc = str(getattr(entry, "doc"))  # noqa: B009
        assert doc.endswith(".") and "\n" not in doc and "|" not in doc


# -- validation


@pytest.mark.parametrize(("name", "value", "read"), facts("verdicts"))
def test_a_value_is_accepted_or_refused_as_kafka_does(name: str, value: str, read: str) -> None:
    text = json.loads(value)
    if (name, text) in DEPARTURES:
        return
    if read == "-":
        with pytest.raises(InvalidConfig, match=name.replace(".", r"\.")):
            validate({name: text})
    else:
        validate({name: text})
        assert one(describe({name: text}), name).value == read


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "retention.ms",
            "-2",
            'Invalid value "-2" for retention.ms: must be a whole number of at least -1',
        ),
        (
            "segment.bytes",
            "x",
            'Invalid value "x" for segment.bytes: must be a whole number from 1048576 to 2147483647',
        ),
        (
            "retention.bytes",
            "1.5",
            'Invalid value "1.5" for retention.bytes: must be a whole number',
        ),
        (
            "compression.gzip.level",
            "0",
            'Invalid value "0" for compression.gzip.level: must be a whole number from 1 to 9, or -1',
        ),
        (
            "min.cleanable.dirty.ratio",
            "nan",
            'Invalid value "nan" for min.cleanable.dirty.ratio: must be a number from 0 to 1',
        ),
        ("preallocate", "1", 'Invalid value "1" for preallocate: must be true or false'),
        (
            "cleanup.policy",
            "drop",
            'Invalid value "drop" for cleanup.policy: must be a list of any of compact, delete',
        ),
        (
            "message.timestamp.type",
            "NoTimestamp",
            'Invalid value "NoTimestamp" for message.timestamp.type: must be one of CreateTime, ',
        ),
        (
            "remote.storage.enable",
            "true",
            'Invalid value "true" for remote.storage.enable: must be false: there is no tiered storage here',
        ),
        ("retention", "1", "Unknown topic config name: retention. Did you mean retention.ms?"),
        ("cleanup_policy", "1", "Unknown topic config name: cleanup_policy. Did you mean cleanup.policy?"),
        ("zzz", "1", "Unknown topic config name: zzz"),
        ("internal.segment.bytes", "1", "Unknown topic config name: internal.segment.bytes"),
    ],
)
def test_a_refusal_names_the_config_the_value_and_what_is_allowed(name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        validate({name: text})
    assert str(caught.value).startswith(message)


def test_a_null_is_refused_naming_the_config() -> None:
    with pytest.raises(InvalidConfig, match=r"^Null value not supported for topic configs: retention\.ms,x$"):
        validate({"retention.ms": None, "segment.ms": "5", "x": None})


@pytest.mark.parametrize(
    ("configs", "defaults"),
    [
        ({"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "9"}, {}),
        ({"min.compaction.lag.ms": "10"}, {"max.compaction.lag.ms": "9"}),
        ({"max.compaction.lag.ms": "9"}, {"log.cleaner.min.compaction.lag.ms": "10"}),
    ],
)
def test_compaction_lags_that_contradict_each_other_are_refused(
    configs: dict[str, str], defaults: dict[str, str]
) -> None:
    with pytest.raises(InvalidConfig, match="conflict topic config setting"):
        validate(configs, defaults)


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        *((version, True) for version in ("2.8", "0.10.2", "3.9-IV0", "0.9.0.0")),
        *((version, False) for version in ("4.0", "abc", "", "3", "3.0-IV", "3.0-IVx")),
    ],
)
def test_a_message_format_version_is_a_version_below_4(version: str, fits: bool) -> None:
    if fits:
        validate({"message.format.version": version})
    else:
        with pytest.raises(InvalidConfig, match="a Kafka version below 4"):
            validate({"message.format.version": version})


def test_usable_keeps_what_is_valid_and_says_what_is_not() -> None:
    kept, problems = usable({"retention.ms": "5", "nope": "1", "segment.ms": "-1"})
    assert kept == {"retention.ms": "5"}
    assert [problem.split(":")[0] for problem in problems] == [
        "Unknown topic config name",
        'Invalid value "-1" for segment.ms',
    ]
    contradicting = {"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "9"}
    assert usable(contradicting) == (contradicting, [])


# -- effective values


def test_without_settings_the_effective_configs_are_kafkas_defaults() -> None:
    configs = TopicConfigs.of()
    assert configs.max_message_bytes == 1048588
    assert (configs.compact, configs.delete) == (False, True)
    assert configs.compression_type == "producer"
    assert configs.log_append_time is False
    assert configs.rewrites is False
    assert (configs.timestamp_before_max_ms, configs.timestamp_after_max_ms) == (FOREVER, 3600000)
    assert (configs.retention_ms, configs.retention_bytes) == (604800000, -1)
    assert (configs.segment_bytes, configs.segment_ms) == (1 << 30, 604800000)
    assert configs.min_insync_replicas == 1
    assert configs.delete_retention_ms == 86400000
    assert (configs.min_compaction_lag_ms, configs.max_compaction_lag_ms) == (0, FOREVER)
    assert configs.min_cleanable_dirty_ratio == 0.5
    assert configs.downconversion is True
    assert not hasattr(configs, "__dict__")


def test_the_topics_own_configs_win_over_the_gateways_and_those_over_kafkas() -> None:
    defaults = {"log.retention.ms": "7", "segment.ms": "8", "log.cleanup.policy": "compact"}
    configs = TopicConfigs.of({"retention.ms": "6", "cleanup.policy": "compact,delete"}, defaults)
    assert (configs.retention_ms, configs.segment_ms) == (6, 8)
    assert (configs.compact, configs.delete) == (True, True)
    only = TopicConfigs.of({}, defaults)
    assert (only.retention_ms, only.compact, only.delete) == (7, True, False)


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        ({"log.retention.hours": "2"}, 7200000),
        ({"log.retention.minutes": "3", "log.retention.hours": "2"}, 180000),
        ({"log.retention.hours": "2", "log.retention.ms": "1"}, 1),
        ({"log.retention.hours": "-1"}, -1),
    ],
)
def test_the_finest_unit_that_is_set_gives_the_default_retention(
    defaults: dict[str, str], expected: int
) -> None:
    assert TopicConfigs.of({}, defaults).retention_ms == expected


def test_a_wrong_default_is_refused_by_the_name_it_was_set_by() -> None:
    with pytest.raises(InvalidConfig, match=r"for log\.retention\.hours: must be"):
        TopicConfigs.of({}, {"log.retention.hours": "x"})
    with pytest.raises(InvalidConfig, match=r"Unknown topic config name: log\.retention"):
        TopicConfigs.of({}, {"log.retention": "1"})


def test_a_timestamp_difference_bounds_both_sides_unless_they_are_set() -> None:
    old = {"message.timestamp.difference.max.ms": "5"}
    configs = TopicConfigs.of(old)
    assert (configs.timestamp_before_max_ms, configs.timestamp_after_max_ms) == (5, 5)
    configs = TopicConfigs.of({**old, "message.timestamp.before.max.ms": "9"})
    assert (configs.timestamp_before_max_ms, configs.timestamp_after_max_ms) == (9, 5)


@pytest.mark.parametrize(
    "overrides", [{"compression.type": "uncompressed"}, {"message.timestamp.type": "LogAppendTime"}]
)
def test_a_codec_or_log_append_time_makes_the_log_rewrite_batches(overrides: dict[str, str]) -> None:
    assert TopicConfigs.of(overrides).rewrites is True


# -- describing


def test_describe_tells_every_current_config_with_its_source() -> None:
    static = Level(STATIC_BROKER_CONFIG, {"log.roll.ms": "8", "log.retention.hours": "1"})
    entries = describe({"retention.ms": " +5 "}, [static])
    assert [entry.name for entry in entries] == [d.name for d in TOPIC_CONFIGS.values() if not d.obsolete]
    retention = one(entries, "retention.ms")
    assert (retention.value, retention.source, retention.type) == ("5", DYNAMIC_TOPIC_CONFIG, 5)
    assert retention.synonyms == (
        Synonym("retention.ms", "5", DYNAMIC_TOPIC_CONFIG),
        Synonym("log.retention.hours", "1", STATIC_BROKER_CONFIG),
        Synonym("log.retention.hours", "168", DEFAULT_CONFIG),
    )
    segment = one(entries, "segment.ms")
    assert (segment.value, segment.source) == ("8", STATIC_BROKER_CONFIG)
    assert segment.synonyms[0] == Synonym("log.roll.ms", "8", STATIC_BROKER_CONFIG)
    size = one(entries, "max.message.bytes")
    assert (size.value, size.source) == ("1048588", DEFAULT_CONFIG)
    assert size.synonyms == (Synonym("message.max.bytes", "1048588", DEFAULT_CONFIG),)
    throttled = one(entries, "leader.replication.throttled.replicas")
    assert (throttled.value, throttled.source, throttled.synonyms) == ("", DEFAULT_CONFIG, ())
    assert one(entries, "min.cleanable.dirty.ratio").value == "0.5"
    assert one(entries, "preallocate").value == "false"
    assert not any(entry.read_only or entry.sensitive for entry in entries)


def test_a_default_by_another_name_is_told_only_beside_a_value_that_is_set() -> None:
    """Kafka's answers about the four configs that have several names at the broker."""
    several = ["flush.ms", "retention.ms", "segment.jitter.ms", "segment.ms"]
    for entry in describe({}, [], several):
        assert (entry.source, entry.synonyms) == (DEFAULT_CONFIG, ()), entry.name
    dynamic = Level(DYNAMIC_BROKER_CONFIG, {"log.roll.ms": "5"})
    (entry,) = describe({}, [dynamic], ["segment.ms"])
    assert entry.synonyms == (
        Synonym("log.roll.ms", "5", DYNAMIC_BROKER_CONFIG),
        Synonym("log.roll.hours", "168", DEFAULT_CONFIG),
    )


def test_the_strongest_level_gives_the_value_and_all_are_told_in_their_order() -> None:
    levels = [
        Level(DYNAMIC_BROKER_CONFIG, {"log.retention.ms": "1"}),
        Level(DYNAMIC_DEFAULT_BROKER_CONFIG, {"log.retention.ms": "2", "message.max.bytes": "9"}),
        Level(STATIC_BROKER_CONFIG, {"log.retention.ms": "3", "log.retention.minutes": "4"}),
    ]
    told = [
        Synonym("log.retention.ms", "1", DYNAMIC_BROKER_CONFIG),
        Synonym("log.retention.ms", "2", DYNAMIC_DEFAULT_BROKER_CONFIG),
        Synonym("log.retention.ms", "3", STATIC_BROKER_CONFIG),
        Synonym("log.retention.minutes", "4", STATIC_BROKER_CONFIG),
        Synonym("log.retention.hours", "168", DEFAULT_CONFIG),
    ]
    (entry,) = describe({}, levels, ["retention.ms"])
    assert (entry.value, entry.source, list(entry.synonyms)) == ("1", DYNAMIC_BROKER_CONFIG, told)
    ms, minutes = describe_broker(levels, ["log.retention.ms", "log.retention.minutes"])[::-1]
    assert (ms.value, ms.source, list(ms.synonyms)) == ("1", DYNAMIC_BROKER_CONFIG, told)
    assert (minutes.value, list(minutes.synonyms)) == ("4", told[3:])


def test_describe_converts_a_default_in_another_unit() -> None:
    entry = describe({}, [Level(STATIC_BROKER_CONFIG, {"log.retention.hours": "1"})], ["retention.ms"])[0]
    assert (entry.value, entry.source) == ("3600000", STATIC_BROKER_CONFIG)


def test_describe_can_be_limited_to_names_and_leaves_out_unknown_ones() -> None:
    assert [e.name for e in describe({}, [], ["segment.ms", "nope", "flush.ms"])] == [
        "flush.ms",
        "segment.ms",
    ]
    assert len(describe({}, [], [])) == len(describe({}))


def test_an_obsolete_config_is_told_of_only_where_it_is_set_or_named() -> None:
    old = "message.format.version"
    assert old not in {entry.name for entry in describe({})}
    assert one(describe({old: "2.8"}), old).value == "2.8"
    assert describe({}, [], [old])[0].value == "3.0-IV1"


def test_the_gateways_defaults_can_be_told_as_broker_configs() -> None:
    assert as_broker_configs({"retention.ms": "5", "log.roll.hours": "1", "min.insync.replicas": "2"}) == {
        "log.retention.ms": "5",
        "log.roll.hours": "1",
        "min.insync.replicas": "2",
    }


def test_describe_broker_tells_the_gateways_values_then_what_holds_here_then_kafkas_default() -> None:
    values = {"num.partitions": "3", "ssl.key.password": "geheim", "unknown": "1"}
    entries = describe_broker([Level(STATIC_BROKER_CONFIG, values)])
    assert [entry.name for entry in entries] == list(BROKER_CONFIGS)
    assert {entry.name for entry in entries if not entry.read_only} == set(DYNAMIC_CONFIGS)
    partitions = one(entries, "num.partitions")
    assert (partitions.value, partitions.source) == ("3", STATIC_BROKER_CONFIG)
    assert partitions.synonyms == (
        Synonym("num.partitions", "3", STATIC_BROKER_CONFIG),
        Synonym("num.partitions", "1", DEFAULT_CONFIG),
    )
    replicas = one(entries, "offsets.topic.replication.factor")
    assert (replicas.value, replicas.source) == ("1", STATIC_BROKER_CONFIG)
    timeout = one(entries, "request.timeout.ms")
    assert (timeout.value, timeout.source) == ("30000", DEFAULT_CONFIG)
    rack = one(entries, "broker.rack")
    assert (rack.value, rack.source, rack.synonyms) == (None, DEFAULT_CONFIG, ())
    assert "geheim" not in repr([(entry, entry.synonyms) for entry in entries])
    assert one(entries, "ssl.key.password").sensitive is True


def test_what_changes_at_run_time_is_what_kafka_changes_and_has_an_effect_here() -> None:
    path = Path(__file__).parent / "kafka-4.4.0-dynamic-configs.txt"
    kafkas = {line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")}
    assert set(DYNAMIC_CONFIGS) <= kafkas
    fixed = {name for name in kafkas & set(BROKER_CONFIGS) if BROKER_CONFIGS[name].setting is not None}
    without_effect = {
        synonym
        for definition in TOPIC_CONFIGS.values()
        if not definition.effective
        for synonym, _ in definition.synonyms
    }
    assert fixed - set(DYNAMIC_CONFIGS) - without_effect == {"listeners"}


def test_describe_broker_can_be_limited_to_names() -> None:
    assert [entry.name for entry in describe_broker([], ["node.id", "nope"])] == ["node.id"]


# -- IncrementalAlterConfigs


def test_changes_set_delete_append_and_subtract() -> None:
    before = {"retention.ms": "5", "cleanup.policy": "delete"}
    after = altered(
        before,
        [("retention.ms", DELETE, None), ("segment.ms", SET, "9"), ("cleanup.policy", APPEND, "compact")],
    )
    assert after == {"cleanup.policy": "delete,compact", "segment.ms": "9"}
    assert before == {"retention.ms": "5", "cleanup.policy": "delete"}
    assert altered(after, [("cleanup.policy", SUBTRACT, "delete")])["cleanup.policy"] == "compact"


def test_append_starts_from_the_effective_list_and_adds_nothing_twice() -> None:
    assert altered({}, [("cleanup.policy", APPEND, "compact,delete")]) == {"cleanup.policy": "delete,compact"}
    defaults = {"cleanup.policy": "compact"}
    assert altered({}, [("cleanup.policy", SUBTRACT, "compact")], defaults) == {"cleanup.policy": ""}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ([("retention.ms", APPEND, "1")], InvalidConfig),
        ([("nope", SUBTRACT, "1")], InvalidConfig),
        ([("retention.ms", SET, None)], InvalidRequest),
        ([("retention.ms", 4, "1")], InvalidRequest),
        ([("retention.ms", SET, "1"), ("retention.ms", DELETE, None)], InvalidRequest),
    ],
)
def test_changes_that_make_no_sense_are_refused(
    changes: list[tuple[str, int, str | None]], error: type[Exception]
) -> None:
    with pytest.raises(error):
        altered({}, changes)
