"""What brokers answered to each kind, and why kgw's answer is another than Kafka's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.corrupt.asking import TAKEN, Answer
from tests.corrupt.kinds import KINDS, Kind

KAFKA = "kafka-4.4.0.tsv"
KGW = "kgw.tsv"


def answers(name: str) -> dict[str, Answer]:
    """By a kind's key."""
    lines = Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return {key: Answer.parse(text) for key, text in (line.split("\t", 1) for line in lines)}


def differ(kafka: Answer, kgw: Answer) -> bool:
    """Whether they make something else of a batch. Which error refuses it does not count."""
    return (kafka.code == TAKEN) != (kgw.code == TAKEN) or kafka.stored != kgw.stored


@dataclass(frozen=True)
class Note:
    """Why kgw does something else with some kinds, and whom each way harms."""

    title: str
    kinds: tuple[str, ...]
    """Names of kinds, whatever their group, unless it stands before a colon."""
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
        "Kafka does not compare a record's length with its fields where the batch is compressed, cuts a "
        "varint to 32 bits, and takes one with bytes to spare. Where it takes that, its own consumer "
        "stops there for ever, as do librdkafka, kafka-python, aiokafka and Sarama; franz-go leaves "
        "records out without a word, or panics. No producer writes it. Refused.",
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
        "Kafka looks at them where a batch is compressed only (and then fails: UNKNOWN_SERVER_ERROR). "
        "Where it takes them, records have the offsets of others: librdkafka gives two records one "
        "offset, Java's consumer and franz-go leave records out, of the batches that follow too, Sarama "
        "stops. Refused, however the batch is packed.",
    ),
    Note(
        "Negative lengths other than -1",
        ("key length -2", "key length -2**31", "value length -2", "header value length -2"),
        "Kafka takes any negative length for null. librdkafka stops at such a key or value, Sarama at all "
        "of them. No producer writes it. Refused.",
    ),
    Note(
        "Attributes of a record",
        ("attributes set",),
        "Nobody defines any, and Kafka takes each. kafka-python and aiokafka read them as a varint and "
        "stop at 0x80 and more. That is refused, less is taken.",
    ),
    Note(
        "Header keys that are not UTF-8",
        ("header key that is not UTF-8",),
        "A header's key is a string (KIP-82), and Kafka does not look. aiokafka stops at one that is not, "
        "the headers of confluent-kafka's message cannot be read, Java reads other characters. Clients "
        "whose strings may be any bytes (Go) can write it. Refused.",
    ),
    Note(
        "A timestamp delta of more than 64 bits",
        ("timestamp delta of 66 bits",),
        "Kafka cuts it to 64. Sarama stops at it, franz-go leaves the record out. Refused.",
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
        "keeps what came. Go clients and kafka-python stop at what follows a gzip member, librdkafka at a "
        "second member or stream and at all that follows an LZ4 frame. kgw reads what Kafka reads, and "
        "keeps it packed anew in one piece: the producer is served, and so is every consumer.",
    ),
    Note(
        "Checks that Kafka leaves out",
        ("reserved flags", "wrong checksum of the content", "wrong length of the content"),
        "Java does not look at gzip's reserved flags, Kafka not at LZ4's checksum and length of the "
        "content. librdkafka, Sarama, kafka-python and others do, and stop. Refused.",
    ),
    Note(
        "Bombs",
        ("gzip, one record of 160 MiB", "lz4, one record of 160 MiB", "zstd, one record of 160 MiB"),
        "A batch of a few KB that is right and inflates to more than `limits.max_inflated_batch` (64 "
        "MiB). Kafka takes it, a record at a time up to `max.decompressed.message.bytes`; a consumer has "
        "to find the memory. kgw answers MESSAGE_TOO_LARGE, which has Java's producer send the records in "
        "smaller batches. A producer that means it sets the limit higher.",
    ),
    Note(
        "The delete horizon",
        ("delete horizon bit",),
        "The bit says from when compaction may take the tombstones of the batch; only compaction sets it. "
        "Kafka keeps a client's, and takes them too early. kgw takes the bit off; the records' times stay "
        "what they are.",
    ),
    Note(
        "LogAppendTime on a topic of CreateTime",
        (
            "time: LogAppendTime",
            "time: LogAppendTime, gzip",
            "LogAppendTime, its records outside",
            "LogAppendTime, repacked",
        ),
        "Kafka checks the max timestamp, which all records of such a batch have, takes the bit off, and "
        "leaves the max timestamp as it was; consumers then see the records' own times. Where it repacks, "
        "each record gets the max timestamp. kgw checks the max timestamp and the records' own times, "
        "which are the ones that stay, and sets the max timestamp to theirs. On a topic of LogAppendTime "
        "both refuse it.",
    ),
)
"""Each difference, once."""
