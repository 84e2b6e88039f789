"""Sends every kind to a Kafka broker, and writes down each outcome."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import raw
from kgw_core import wire
from kgw_core.errors import KafkaError, error_name
from kgw_core.records import Codec, RecordBatch, iter_records
from kgw_core.records.batch import CODEC_MASK
from tests.corrupt.kinds import TOPICS, Kind

PRODUCE, FETCH = 11, 12
TAKEN = "taken"


@dataclass(frozen=True)
class Answer:
    """``code``: Kafka's name of the error, or :data:`TAKEN`. ``culprits``: the records that are named.
    ``stored``: how what was stored differs from what was sent, empty if it does not."""

    code: str
    culprits: tuple[int, ...] = ()
    stored: str = ""

    def __str__(self) -> str:
        return "\t".join((self.code, " ".join(map(str, self.culprits)), self.stored)).rstrip("\t")

    @classmethod
    def parse(cls, text: str) -> Answer:
        code, culprits, stored = [*text.split("\t"), "", ""][:3]
        return cls(code, tuple(map(int, culprits.split())), stored)


class Asking:
    """One connection to a broker, and a topic for each set of configs: ``topics``, by their names in
    :data:`tests.corrupt.kinds.TOPICS`."""

    def __init__(self, address: raw.Address) -> None:
        self._client = raw.Client(address, timeout=60)
        run = time.time_ns()
        self.topics = {name: f"corrupt-{run}-{name}" for name in TOPICS}
        self._create()

    def close(self) -> None:
        self._client.sock.close()

    def _create(self) -> None:
        for name, configs in TOPICS.items():
            named = {key.replace(".", "_"): value for key, value in configs.items()}
            self._client.create_topic(self.topics[name], 1, **named)

    def ask(self, kind: Kind) -> Answer:
        """The outcome of one batch of a kind."""
        now = int(time.time() * 1000)
        sent = kind.make(now)
        request: Any = wire.message("ProduceRequest")(acks=-1, timeout_ms=30_000)
        data = raw.part(request, "PartitionProduceData")(0, sent)
        name = self.topics[kind.topic]
        request.topic_data = [raw.part(request, "TopicProduceData")(name, partition_data=[data])]
        (topic,) = self._client.ask(request, PRODUCE).responses
        (answer,) = topic.partition_responses
        if answer.error_code:
            culprits = tuple(each.batch_index for each in answer.record_errors or ())
            return Answer(error_name(answer.error_code), culprits)
        return Answer(TAKEN, (), difference(sent, self._stored(name, answer.base_offset), now))

    def _stored(self, name: str, offset: int) -> bytes:
        request: Any = wire.message("FetchRequest")(
            replica_id=-1, max_wait_ms=0, min_bytes=1, max_bytes=4 << 20
        )
        part = raw.part(request, "FetchPartition")(0, fetch_offset=offset, partition_max_bytes=1)
        request.topics = [raw.part(request, "FetchTopic")(name, partitions=[part])]
        (topic,) = self._client.ask(request, FETCH).responses
        batch = RecordBatch(bytes(topic.partitions[0].records or b""))
        batch.check_crc()
        return bytes(batch.data)


def difference(sent: bytes, stored: bytes, now: int) -> str:
    """In words: what is other in the stored batch, but for its offset and epoch. Times count from ``now``."""
    before, after = RecordBatch(sent), RecordBatch(stored)
    changes = list(_fields(before, after, now))
    if bytes(before.payload) != bytes(after.payload):
        if (found := _records(before)) != (there := _records(after)):
            changes.append(f"records {found} -> {there}")
        elif (before.attributes ^ after.attributes) & CODEC_MASK == 0:
            changes.append("written anew")
    return ", ".join(changes)


def _fields(before: RecordBatch, after: RecordBatch, now: int) -> Iterator[str]:
    if before.attributes & CODEC_MASK != after.attributes & CODEC_MASK:
        yield f"{_codec(before)} -> {_codec(after)}"
    if before.attributes & ~CODEC_MASK != after.attributes & ~CODEC_MASK:
        yield f"attributes {before.attributes:#x} -> {after.attributes & ~CODEC_MASK:#x}"
    for name in ("max_timestamp", "base_timestamp"):
        was, now_is = getattr(before, name), getattr(after, name)
        if name == "max_timestamp" and after.log_append_time:
            yield "max_timestamp the broker's clock"
        elif was != now_is:
            yield f"{name} {_time(was, now)} -> {_time(now_is, now)}"
    for name in ("record_count", "last_offset_delta"):
        if getattr(before, name) != getattr(after, name):
            yield f"{name} {getattr(before, name)} -> {getattr(after, name)}"


def _codec(batch: RecordBatch) -> str:
    return Codec(batch.attributes & CODEC_MASK).label


def _time(timestamp: int, now: int) -> str:
    if abs(timestamp - now) < 10_000:
        return "now" if abs(timestamp - now) > 1000 else f"now + {timestamp - now}"
    return str(timestamp) if timestamp < 1000 else f"now {timestamp - now:+}"


def _records(batch: RecordBatch) -> str:
    """Offsets and times, as far as they can be read."""
    try:
        return " ".join(f"{each.offset - batch.base_offset}" for each in iter_records(batch))
    except KafkaError as error:
        return type(error).__name__


def ask_all(address: raw.Address, kinds: Iterable[Kind]) -> dict[str, Answer]:
    """The outcomes by the key of a kind."""
    asking = Asking(address)
    try:
        return {kind.key: asking.ask(kind) for kind in kinds}
    finally:
        asking.close()
