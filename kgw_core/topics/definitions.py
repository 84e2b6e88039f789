"""The table of topic configs: names, types, bounds, defaults and synonyms are Kafka's (4.4.0).

Entries marked ``obsolete`` are Kafka 3.9's; they are accepted, and described only where they are set.
``docs/reference/topic-configs.md`` shows this table; a test compares the two.
"""

from __future__ import annotations

from kgw_core.topics.values import BOOLEAN, DOUBLE, INT, LIST, LONG, STRING, Definition, Value

_FOREVER = "9223372036854775807"
_MINUTE, _HOUR = 60_000, 3_600_000
_CODECS = ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")
_REPLICAS = '"*" or a list of partition:broker pairs'


def _throttled(value: Value) -> bool:
    if not isinstance(value, tuple) or value in ((), ("*",)):
        return True
    return all(len(ids := item.split(":")) == 2 and all(i.isdecimal() for i in ids) for item in value)


def _format_version(value: Value) -> bool:
    version, _, patch = str(value).partition("-IV")
    numbers = version.split(".")
    return (
        2 <= len(numbers) <= 4
        and all(part.isdecimal() for part in (*numbers, patch or "0"))
        and int(numbers[0]) < 4
        and not str(value).endswith("-IV")
    )


def _is_off(value: Value) -> bool:
    return value is False


_TABLE = (
    Definition(
        "cleanup.policy",
        LIST,
        "delete",
        "What becomes of old records: delete drops them by age and size, compact keeps the last of each key.",
        synonyms=(("log.cleanup.policy", 1),),
        choices=("compact", "delete"),
        effective=True,
    ),
    Definition(
        "compression.gzip.level",
        INT,
        "-1",
        "Effort of gzip where compression.type is gzip; -1 leaves it to the library.",
        synonyms=(("compression.gzip.level", 1),),
        low=1,
        high=9,
        also=-1,
        effective=True,
    ),
    Definition(
        "compression.lz4.level",
        INT,
        "9",
        "Effort of LZ4 where compression.type is lz4.",
        synonyms=(("compression.lz4.level", 1),),
        low=1,
        high=17,
        effective=True,
    ),
    Definition(
        "compression.type",
        STRING,
        "producer",
        "Codec that batches are stored with; producer keeps the one they came with.",
        synonyms=(("compression.type", 1),),
        choices=_CODECS,
        effective=True,
    ),
    Definition(
        "compression.zstd.level",
        INT,
        "3",
        "Effort of Zstandard where compression.type is zstd.",
        synonyms=(("compression.zstd.level", 1),),
        low=-131072,
        high=22,
        effective=True,
    ),
    Definition(
        "delete.retention.ms",
        LONG,
        "86400000",
        "How long compaction keeps a tombstone, so that a consumer from the start still sees the deletion.",
        synonyms=(("log.cleaner.delete.retention.ms", 1),),
        low=0,
        effective=True,
    ),
    Definition(
        "errors.deadletterqueue.group.enable",
        BOOLEAN,
        "false",
        "Whether share groups may use the topic for the records that they could not process.",
    ),
    Definition(
        "file.delete.delay.ms",
        LONG,
        "60000",
        "How long a segment's files stay on disk after the segment is dropped.",
        synonyms=(("log.segment.delete.delay.ms", 1),),
        low=0,
    ),
    Definition(
        "flush.messages",
        LONG,
        _FOREVER,
        "Records after which the log is forced to disk; here the store decides when data is durable.",
        synonyms=(("log.flush.interval.messages", 1),),
        low=1,
    ),
    Definition(
        "flush.ms",
        LONG,
        _FOREVER,
        "Time after which the log is forced to disk; here the store decides when data is durable.",
        synonyms=(("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)),
        low=0,
    ),
    Definition(
        "follower.replication.throttled.replicas",
        LIST,
        "",
        "Replicas whose fetching is throttled on the follower's side.",
        check=_throttled,
        words=_REPLICAS,
    ),
    Definition(
        "index.interval.bytes",
        INT,
        "4096",
        "Bytes of records between two entries of the offset index.",
        synonyms=(("log.index.interval.bytes", 1),),
        low=0,
    ),
    Definition(
        "leader.replication.throttled.replicas",
        LIST,
        "",
        "Replicas whose fetching is throttled on the leader's side.",
        check=_throttled,
        words=_REPLICAS,
    ),
    Definition(
        "local.retention.bytes",
        LONG,
        "-2",
        "Bytes of a partition kept locally with tiered storage; -2 is retention.bytes.",
        synonyms=(("log.local.retention.bytes", 1),),
        low=-2,
    ),
    Definition(
        "local.retention.ms",
        LONG,
        "-2",
        "Time for which records are kept locally with tiered storage; -2 is retention.ms.",
        synonyms=(("log.local.retention.ms", 1),),
        low=-2,
    ),
    Definition(
        "max.compaction.lag.ms",
        LONG,
        _FOREVER,
        "Longest time for which a record may escape compaction.",
        synonyms=(("log.cleaner.max.compaction.lag.ms", 1),),
        low=1,
        effective=True,
    ),
    Definition(
        "max.decompressed.message.bytes",
        INT,
        "2147483639",
        "Largest record that a compressed batch may hold, in bytes after decompression.",
        synonyms=(("max.decompressed.message.bytes", 1),),
        low=1,
        high=2147483639,
        effective=True,
    ),
    Definition(
        "max.message.bytes",
        INT,
        "1048588",
        "Largest record batch accepted, in bytes after compression.",
        synonyms=(("message.max.bytes", 1),),
        low=0,
        effective=True,
    ),
    Definition(
        "message.downconversion.enable",
        BOOLEAN,
        "true",
        "Whether consumers older than Kafka 0.11 are served, which costs rewriting the batches for them.",
        synonyms=(("log.message.downconversion.enable", 1),),
        obsolete=True,
    ),
    Definition(
        "message.format.version",
        STRING,
        "3.0-IV1",
        "Format that batches were stored in; it has been v2 whatever this says since Kafka 3.0.",
        synonyms=(("log.message.format.version", 1),),
        check=_format_version,
        words="a Kafka version below 4, such as 2.8 or 3.0-IV1",
        obsolete=True,
    ),
    Definition(
        "message.timestamp.after.max.ms",
        LONG,
        "3600000",
        "How far in the future a record's timestamp may lie, with CreateTime.",
        synonyms=(("log.message.timestamp.after.max.ms", 1),),
        low=0,
        effective=True,
    ),
    Definition(
        "message.timestamp.before.max.ms",
        LONG,
        _FOREVER,
        "How far in the past a record's timestamp may lie, with CreateTime.",
        synonyms=(("log.message.timestamp.before.max.ms", 1),),
        low=0,
        effective=True,
    ),
    Definition(
        "message.timestamp.difference.max.ms",
        LONG,
        _FOREVER,
        "One value for message.timestamp.before.max.ms and message.timestamp.after.max.ms, which win.",
        synonyms=(("log.message.timestamp.difference.max.ms", 1),),
        low=0,
        effective=True,
        obsolete=True,
    ),
    Definition(
        "message.timestamp.type",
        STRING,
        "CreateTime",
        "Whose clock dates a record: the producer's (CreateTime) or the broker's (LogAppendTime).",
        synonyms=(("log.message.timestamp.type", 1),),
        choices=("CreateTime", "LogAppendTime"),
        effective=True,
    ),
    Definition(
        "min.cleanable.dirty.ratio",
        DOUBLE,
        "0.5",
        "Share of the log that must be new since the last compaction before the next one starts.",
        synonyms=(("log.cleaner.min.cleanable.ratio", 1),),
        low=0,
        high=1,
        effective=True,
    ),
    Definition(
        "min.compaction.lag.ms",
        LONG,
        "0",
        "Time for which a record is safe from compaction.",
        synonyms=(("log.cleaner.min.compaction.lag.ms", 1),),
        low=0,
        effective=True,
    ),
    Definition(
        "min.insync.replicas",
        INT,
        "1",
        "Replicas that must have a record before acks=all is answered; here the store replicates, if any.",
        synonyms=(("min.insync.replicas", 1),),
        low=1,
    ),
    Definition(
        "preallocate",
        BOOLEAN,
        "false",
        "Whether a segment's file gets its full size when it is made.",
        synonyms=(("log.preallocate", 1),),
    ),
    Definition(
        "remote.copy.lag.bytes",
        LONG,
        "-1",
        "Bytes that stay local before tiered storage copies what is older.",
        synonyms=(("log.remote.copy.lag.bytes", 1),),
        low=-1,
    ),
    Definition(
        "remote.copy.lag.ms",
        LONG,
        "0",
        "Time for which records stay local before tiered storage copies them.",
        synonyms=(("log.remote.copy.lag.ms", 1),),
        low=-1,
    ),
    Definition(
        "remote.log.copy.disable",
        BOOLEAN,
        "false",
        "Whether tiered storage only reads what it has.",
    ),
    Definition(
        "remote.log.delete.on.disable",
        BOOLEAN,
        "false",
        "Whether switching tiered storage off deletes what it has.",
    ),
    Definition(
        "remote.storage.enable",
        BOOLEAN,
        "false",
        "Whether the topic is in tiered storage, which there is none of here.",
        check=_is_off,
        words="false: there is no tiered storage here",
    ),
    Definition(
        "retention.bytes",
        LONG,
        "-1",
        "Size of a partition above which its oldest records go, with cleanup.policy delete; -1 is no limit.",
        synonyms=(("log.retention.bytes", 1),),
        effective=True,
    ),
    Definition(
        "retention.ms",
        LONG,
        "604800000",
        "Age at which records go, with cleanup.policy delete; -1 is never.",
        synonyms=(
            ("log.retention.ms", 1),
            ("log.retention.minutes", _MINUTE),
            ("log.retention.hours", _HOUR),
        ),
        low=-1,
        effective=True,
    ),
    Definition(
        "segment.bytes",
        INT,
        "1073741824",
        "Size at which a log's file is closed and the next one begun.",
        synonyms=(("log.segment.bytes", 1),),
        low=1048576,
    ),
    Definition(
        "segment.index.bytes",
        INT,
        "10485760",
        "Size of a segment's index file.",
        synonyms=(("log.index.size.max.bytes", 1),),
        low=4,
    ),
    Definition(
        "segment.jitter.ms",
        LONG,
        "0",
        "Random time taken off segment.ms, so that segments do not all end at once.",
        synonyms=(("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", _HOUR)),
        low=0,
    ),
    Definition(
        "segment.ms",
        LONG,
        "604800000",
        "Age at which a log's file is closed even where it is not full.",
        synonyms=(("log.roll.ms", 1), ("log.roll.hours", _HOUR)),
        low=1,
    ),
    Definition(
        "unclean.leader.election.enable",
        BOOLEAN,
        "false",
        "Whether a replica that lags behind may lead, at the price of lost records.",
        synonyms=(("unclean.leader.election.enable", 1),),
    ),
)

TOPIC_CONFIGS: dict[str, Definition] = {definition.name: definition for definition in _TABLE}
"""Every topic config by its name, in the order of names."""
