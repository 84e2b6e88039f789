"""The recorded answers of brokers to each kind, and the reasons why kgw and Kafka differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.corrupt.asking import TAKEN, Answer
from tests.corrupt.kinds import KINDS, Kind

KAFKA = "kafka-4.4.0.tsv"
KGW = "kgw.tsv"


def answers(name: str) -> dict[str, Answer]:
    """The answers in a file of recorded answers, by the key of a kind."""
    lines = Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return {key: Answer.parse(text) for key, text in (line.split("\t", 1) for line in lines)}


def differ(kafka: Answer, kgw: Answer) -> bool:
    """Whether the brokers treat a batch differently. Two different errors count as equal."""
    return (kafka.code == TAKEN) != (kgw.code == TAKEN) or kafka.stored != kgw.stored


@dataclass(frozen=True)
class Note:
    """The reason why kgw treats some kinds differently, with the effect on consumers."""

    title: str
    kinds: tuple[str, ...]
    """Names of kinds: of all groups, or of one group that stands before a colon."""
    text: str

    def about(self, kind: Kind) -> bool:
        return kind.name in self.kinds or kind.id in self.kinds


def note_of(kind: Kind) -> Note | None:
    """The note about a kind."""
    found = [note for note in NOTES if note.about(kind)]
    assert len(found) < 2, (kind, [note.title for note in found])
    return found[0] if found else None


def kinds_of(note: Note) -> Sequence[Kind]:
    """The kinds that a note is about."""
    return [kind for kind in KINDS if note.about(kind)]


NOTES = (
    Note(
        "Lengths of compressed records",
        (
            "record, gzip: length over the end of the batch",
            "record, gzip: length into the next record",
            "record, gzip: length too short",
            "length in more bytes than it needs",
            "length of 33 bits",
        ),
        "Kafka does not compare a record's length with its fields if the batch is compressed. It cuts a "
        "varint to 32 bits, and accepts one with superfluous bytes. Its own consumer stops for ever at an "
        "accepted batch, as do librdkafka, kafka-python, aiokafka and Sarama; franz-go silently leaves "
        "records out, or panics. No producer writes such lengths. kgw refuses them.",
    ),
    Note(
        "Offset deltas that do not count up",
        (
            "offset deltas all 0",
            "offset deltas backwards",
            "offset deltas with a gap",
            "offset delta negative",
            "offset delta 2**31 - 1",
        ),
        "Kafka checks them only if a batch is compressed (and then fails with UNKNOWN_SERVER_ERROR). If it "
        "accepts them, records have the offsets of others: librdkafka gives two records one offset, Java's "
        "consumer and franz-go leave out records also of later batches, and Sarama stops. kgw refuses them "
        "with any codec.",
    ),
    Note(
        "Negative lengths other than -1",
        ("key length -2", "key length -2**31", "value length -2", "header value length -2"),
        "Kafka takes any negative length for null. librdkafka stops at such a key or value, and Sarama at "
        "all of them. No producer writes such lengths. kgw refuses them.",
    ),
    Note(
        "Attributes of a record",
        ("attributes set",),
        "No attribute is defined, and Kafka accepts every value. kafka-python and aiokafka read the "
        "attributes as a varint, and stop at 0x80 and more. kgw refuses those and accepts smaller values.",
    ),
    Note(
        "Header keys that are not UTF-8",
        ("header key that is not UTF-8",),
        "A header's key is a string (KIP-82), and Kafka does not check it. At a key that is not UTF-8 "
        "aiokafka stops, confluent-kafka cannot read the message's headers, and Java reads other "
        "characters. Clients whose strings may be any bytes (Go) can write such keys. kgw refuses them.",
    ),
    Note(
        "A timestamp delta of more than 64 bits",
        ("timestamp delta of 66 bits",),
        "Kafka cuts it to 64 bits. Sarama stops at it, and franz-go leaves the record out. kgw refuses it.",
    ),
    Note(
        "Something behind the compressed data, or several pieces",
        (
            "gzip: zeros after it",
            "gzip: garbage after it",
            "gzip: in two pieces",
            "gzip: an empty piece after it",
            "snappy: in two pieces",
            "snappy: an empty piece after it",
            "lz4: zeros after it",
            "lz4: garbage after it",
            "lz4: the records twice",
            "lz4: an empty piece after it",
        ),
        "Kafka reads all gzip members and xerial streams and the first LZ4 frame, ignores the rest, and "
        "stores the batch unchanged. Go clients and kafka-python stop at the bytes after a gzip member; "
        "librdkafka stops at a second member or stream, and at all bytes after an LZ4 frame. kgw reads the "
        "same records as Kafka, and stores them compressed again in one piece. So every consumer can read "
        "them.",
    ),
    Note(
        "Checks that Kafka leaves out",
        ("reserved flags", "wrong checksum of the content", "wrong length of the content"),
        "Java does not check gzip's reserved flags, and Kafka does not check LZ4's checksum and length of "
        "the content. librdkafka, Sarama, kafka-python and others check them, and stop. kgw refuses such "
        "batches.",
    ),
    Note(
        "Bombs",
        ("gzip, one record of 160 MiB", "lz4, one record of 160 MiB", "zstd, one record of 160 MiB"),
        "A batch of a few KB is correct, and inflates to more than `limits.max_inflated_batch` (64 MiB). "
        "Kafka accepts it, and inflates it record by record up to `max.decompressed.message.bytes`; a "
        "consumer has to find the memory. kgw answers MESSAGE_TOO_LARGE, and Java's producer then sends the "
        "records in smaller batches. For producers of such batches there is the limit.",
    ),
    Note(
        "The delete horizon",
        ("delete horizon bit",),
        "The bit tells from when compaction may remove the tombstones of the batch, and only compaction "
        "sets it. Kafka keeps a client's bit, and removes the tombstones too early. kgw clears the bit; the "
        "records keep their times.",
    ),
    Note(
        "LogAppendTime on a topic of CreateTime",
        (
            "time: LogAppendTime",
            "time: LogAppendTime, gzip",
            "LogAppendTime, its records outside",
            "LogAppendTime, repacked",
        ),
        "All records of such a batch have its max timestamp. Kafka checks that, clears the bit, and leaves "
        "the max timestamp; consumers then see the records' own times. If it compresses the batch again, "
        "each record gets the max timestamp. kgw checks the max timestamp and the records' own times, which "
        "stay, and sets the max timestamp to theirs. On a topic of LogAppendTime both refuse it.",
    ),
)
"""Each difference has one note."""
