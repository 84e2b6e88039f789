"""Produce and InitProducerId: batches that are refused, partitions named twice, sequences out of turn."""

from __future__ import annotations

from typing import Any

from kgw_core.records import build_batch
from tools.replay.scene import TIME, Scene, batch, coded, produce_request, scene
from tools.replay.scenes.topics import UNKNOWN_ID, ZERO_ID

ALL = range(3, 14)
SOME = (3, 7, 9, 12, 13)


@scene
def produce_places(s: Scene) -> None:
    one, two = s.topic("one", 2), s.topic("two")
    nope = s.named("nope")

    def ask(label: str, *parts: tuple[str, int, str | None], versions: Any = SOME) -> None:
        s.ask(label, "Produce", produce_request(*parts), versions)

    ask("one", (one, 0, batch("a")), versions=ALL)
    ask("unknown partition", (one, 2, batch("a")), versions=ALL)
    ask("negative partition", (one, -1, batch("a")))
    ask("unknown topic", (nope, 0, batch("a")), versions=range(3, 13))
    ask("bad name", ("a b", 0, batch("a")), versions=(3, 9))
    ask("empty name", ("", 0, batch("a")), versions=(3, 9))
    ask("a topic twice", (one, 0, batch("a")), (two, 0, batch("b")), (one, 1, batch("c")))
    ask("one right, one not", (one, 0, batch("a")), (one, 7, batch("b")))
    s.ask("nothing", "Produce", produce_request(), SOME)
    empty = {"topicData": [{"name": one, "topicId": s.id(one), "partitionData": []}], "acks": -1}
    s.ask("a topic without partitions", "Produce", empty, SOME)
    for id, told in ((UNKNOWN_ID, "unknown id"), (ZERO_ID, "no id")):
        data = [{"name": "", "topicId": id, "partitionData": [{"index": 0, "records": batch("a")}]}]
        s.ask(told, "Produce", {"topicData": data, "acks": -1, "timeoutMs": 10_000}, 13)
    for timeout in (0, -1, 2**31 - 1):
        request = produce_request((one, 0, batch("a"))) | {"timeoutMs": timeout}
        s.ask(f"timeout {timeout}", "Produce", request, (3, 9, 13))
    for acks in (1, 2, -2, 2**15 - 1):
        s.ask(f"acks {acks}", "Produce", produce_request((one, 0, batch("a")), acks=acks), (3, 9, 13))
    s.ask("a transactional id", "Produce", produce_request((one, 0, batch("a"))) | {"transactionalId": ""}, 9)


@scene
def produce_a_partition_twice(s: Scene) -> None:
    for version in SOME:
        one = s.topic(f"v{version}")
        request = produce_request((one, 0, batch("a")), (one, 0, batch("b", "c")))
        s.ask("in one topic", "Produce", request, version)
        s.ask("what is stored", "Fetch", _whole(one), version + 4 if version < 9 else version)


def _wrong_crc() -> str:
    data = build_batch([(None, b"a", TIME)])
    data[17:21] = b"crc?"
    return coded(data)


def _magic(magic: int) -> str:
    data = build_batch([(None, b"a", TIME)])
    data[16] = magic
    return coded(data)


def _two_batches() -> str:
    return coded(build_batch([(None, b"a", TIME)]) + build_batch([(None, b"b", TIME)]))


@scene
def produce_refused(s: Scene) -> None:
    """What is refused tells where the log starts."""
    topic = s.topic("one", configs={"max.message.bytes": "300"})
    s.produce(topic, *"abcde")
    s.do(
        "DeleteRecords",
        {"topics": [{"name": topic, "partitions": [{"partitionIndex": 0, "offset": 2}]}], "timeoutMs": 9_000},
        2,
    )
    compact = s.topic("compact", configs={"cleanup.policy": "compact"})
    young = s.topic("young", configs={"message.timestamp.after.max.ms": "1000"})

    def ask(label: str, topic: str, records: str | None, versions: Any = ALL) -> None:
        s.ask(label, "Produce", produce_request((topic, 0, records)), versions)

    ask("a wrong CRC", topic, _wrong_crc())
    ask("too large", topic, batch("x" * 400))
    ask("a key is missing", compact, batch("a"))
    ask(
        "a key is missing in the second",
        compact,
        coded(build_batch([(b"k", b"a", TIME), (None, b"b", TIME), (b"k", b"c", TIME), (None, b"d", TIME)])),
    )
    ask("far ahead in time", young, batch("a", time=4_000_000_000_000))
    ask("zstd", topic, batch("a", codec=4), (3, 6, 7, 9, 13))
    ask("an unknown codec", topic, _attributes(5), SOME)
    ask("magic 1", topic, _magic(1), SOME)
    ask("magic 3", topic, _magic(3), SOME)
    ask("two batches", topic, _two_batches(), SOME)
    ask("no bytes", topic, "", SOME)
    ask("null", topic, None, SOME)
    ask("a few bytes", topic, coded(b"abc"), SOME)
    ask("a control batch", topic, _attributes(32), SOME)
    ask("a transactional batch", topic, _attributes(16), SOME)
    ask("sequence without a producer", topic, batch("a", base_sequence=5), SOME)
    ask("producer without a sequence", topic, batch("a", producer_id=77, producer_epoch=0), SOME)
    ask("a right one after all that", topic, batch("f"), (3, 13))


def _attributes(bits: int) -> str:
    from crc32c import crc32c

    data = build_batch([(None, b"a", TIME)])
    data[22] |= bits
    data[17:21] = crc32c(memoryview(data)[21:]).to_bytes(4, "big")
    return coded(data)


@scene
def produce_in_sequence(s: Scene) -> None:
    topic, other = s.topic("one"), s.topic("other")
    versions = (9,)

    def ask(label: str, sequence: int, *values: str, epoch: int = 0, id: int = 7001, to: str = topic) -> None:
        data = batch(*values, producer_id=id, producer_epoch=epoch, base_sequence=sequence)
        s.ask(label, "Produce", produce_request((to, 0, data)), versions)

    ask("first", 0, "a", "b")
    ask("the same again", 0, "a", "b")
    ask("second", 2, "c")
    ask("the first again", 0, "a", "b")
    ask("a part of the first", 0, "a")
    ask("a gap", 5, "d")
    ask("before", 1, "d")
    ask("third", 3, "d")
    ask("a newer epoch, not from 0", 3, "e", epoch=1)
    ask("a newer epoch", 0, "e", epoch=1)
    ask("the older epoch", 1, "f", epoch=0)
    ask("a much newer epoch", 0, "f", epoch=9)
    for sequence in range(1, 7):
        ask(f"number {sequence}", sequence, "g", epoch=9)
    ask("one that is no longer remembered", 1, "g", epoch=9)
    ask("the oldest that is", 2, "g", epoch=9)
    ask("unknown producer, not from 0", 4, "h", id=7002)
    ask("it goes on", 5, "h", id=7002)
    ask("wraps", 2**31 - 1, "i", id=7003)
    ask("after the wrap", 0, "i", id=7003)
    ask("wraps within", 2**31 - 2, "j", "k", "l", id=7004)
    ask("after the wrap within", 1, "m", id=7004)
    ask("on another topic", 0, "n", to=other)
    ask("negative sequence", -5, "n", id=7005)
    ask("negative epoch", 0, "n", id=7006, epoch=-2)
    ask("negative producer", 0, "n", id=-5)
    s.ask("what is stored", "Fetch", _whole(topic), 12)
    parts = {"topics": [{"name": topic, "partitionIndexes": [0, 0, 1, -1]}]}
    s.ask("the producers", "DescribeProducers", parts)


@scene
def produce_without_an_epoch(s: Scene) -> None:
    topic = s.topic("one")
    for label, sequence in (("first", 0), ("next", 1), ("a gap", 5)):
        data = batch("a", producer_id=7007, producer_epoch=-1, base_sequence=sequence)
        s.ask(label, "Produce", produce_request((topic, 0, data)), 9)


def _whole(topic: str) -> dict[str, Any]:
    part = {"partition": 0, "partitionMaxBytes": 1 << 20}
    entry = {"topic": topic, "topicId": f"<id of {topic}>", "partitions": [part]}
    return {"maxWaitMs": 0, "topics": [entry]}


@scene
def init_producer_id(s: Scene) -> None:
    def ask(label: str, versions: Any = None, **request: Any) -> None:
        codes = ("errorCode", "producerEpoch")
        s.ask(label, "InitProducerId", {"transactionalId": None} | request, versions, fields=codes)

    s.do("InitProducerId", {"transactionalId": None}, 5, bind={"producerId": "producer"})
    ask("with an id and an epoch", range(3, 6), producerId="<producer>", producerEpoch=0)
    ask("with an id, no epoch", range(3, 6), producerId=5)
    ask("with an epoch, no id", range(3, 6), producerEpoch=5)
    ask("with a negative id", range(3, 6), producerId=-5, producerEpoch=-5)
    ask("with an epoch at its end", range(3, 6), producerId="<producer>", producerEpoch=2**15 - 1)
    ask("with a transactional id that is empty", transactionalId="")
    ask("without a timeout", (0, 2, 5), transactionalId="", transactionTimeoutMs=-1)
