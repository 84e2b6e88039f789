"""Record batches that are wrong in one way each, with the error that Kafka gives for it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from crc32c import crc32c

from kgw_core import wire
from kgw_core.errors import error_name
from kgw_core.records import Codec, build_batch
from kgw_core.records.batch import ATTRIBUTES_AT, CRC_AT, HEADER, HEADER_SIZE, LOG_OVERHEAD
from kgw_core.wire.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from tests.corrupt.answers import KGW, answers
from tests.corrupt.asking import TAKEN
from tests.corrupt.kinds import KINDS
from tests.fuzz import seeds
from tests.fuzz.attack import CLOSED, SILENT, Attack, Finding, Link, framed
from tests.fuzz.frames import rounds

CORRUPT, INVALID, TIMESTAMP, CODEC, TXN_STATE, TOO_LARGE = 2, 87, 32, 76, 48, 10
FIELDS = (
    "base_offset", "length", "leader_epoch", "magic", "crc", "attributes", "last_offset_delta",
    "base_timestamp", "max_timestamp", "producer_id", "producer_epoch", "base_sequence", "count",
)  # fmt: skip
TOPICS = ("fuzz", "squeezed", "compacted")
VERSIONS = range(3, 14)
ZSTD = 7
BY_ID = 13


def batch(rng: random.Random, codec: Codec = Codec.NONE, **options: int) -> bytearray:
    """A valid one."""
    now = int(time.time() * 1000)
    records = [(b"k%d" % i, rng.randbytes(rng.randrange(200)), now) for i in range(rng.randint(1, 8))]
    return build_batch(records, codec=codec, **options)


def with_fields(data: bytes | bytearray, **fields: int) -> bytearray:
    """The batch with header fields changed and, unless that is changed too, the CRC that fits."""
    changed = bytearray(data)
    header = list(HEADER.unpack_from(changed))
    for name, value in fields.items():
        header[FIELDS.index(name)] = value
    HEADER.pack_into(changed, 0, *header)
    if "crc" not in fields:
        changed[CRC_AT:ATTRIBUTES_AT] = crc32c(memoryview(changed)[ATTRIBUTES_AT:]).to_bytes(4, "big")
    return changed


Wrong = Callable[[random.Random], bytes | bytearray | None]


def _in_field(name: str, *values: int) -> Wrong:
    return lambda rng: with_fields(batch(rng), **{name: rng.choice(values)})


def _flipped_payload(rng: random.Random) -> bytearray:
    data = batch(rng)
    data[rng.randrange(ATTRIBUTES_AT, len(data))] ^= 1 << rng.randrange(8)
    return data


def _future(rng: random.Random) -> bytearray:
    return build_batch([(b"k", b"v", int(time.time() * 1000) + 10_000_000_000)])


def _cut(rng: random.Random) -> bytearray:
    data = batch(rng)
    return data[: rng.randrange(HEADER_SIZE, len(data))]


def _cut_in_header(rng: random.Random) -> bytearray:
    return batch(rng)[: rng.randrange(LOG_OVERHEAD, HEADER_SIZE)]


WRONG: dict[str, tuple[Wrong, set[int]]] = {
    "no bytes": (lambda rng: b"", {INVALID}),
    "null": (lambda rng: None, {INVALID}),
    "cut short": (_cut, {INVALID}),
    "cut within its header": (_cut_in_header, {INVALID}),
    "two batches": (lambda rng: batch(rng) + batch(rng), {INVALID}),
    "bytes after it": (lambda rng: batch(rng) + rng.randbytes(9), {INVALID}),
    "magic 0 or 1": (_in_field("magic", 0, 1), {INVALID}),
    "unknown magic": (_in_field("magic", 3, 127, -1, -128), {CORRUPT}),
    "length too small": (_in_field("length", 0, -1, -(2**31), 48), {CORRUPT}),
    "length too large": (_in_field("length", 2**31 - 1, 5_000), {INVALID}),
    "another crc": (_in_field("crc", 0, 2**32 - 1, 12345), {CORRUPT}),
    "a bit flipped": (_flipped_payload, {CORRUPT}),
    "count": (_in_field("count", 0, -1, 2**31 - 1, -(2**31)), {INVALID}),
    "last offset delta": (_in_field("last_offset_delta", -1, 99, 2**31 - 1, -(2**31)), {INVALID}),
    "base offset": (_in_field("base_offset", 1, -1, 2**63 - 1, -(2**63)), {INVALID}),
    "control bit": (lambda rng: build_batch([(b"\0\0\0\1", b"\0" * 6)], control=True), {INVALID}),
    "codec 5 to 7": (_in_field("attributes", 5, 6, 7), {CODEC}),
    "from the future": (_future, {TIMESTAMP}),
    "sequence without a number": (
        lambda rng: batch(rng, producer_id=5, producer_epoch=0, base_sequence=-1),
        {INVALID},
    ),
    "transactional": (
        lambda rng: batch(rng, producer_id=5, producer_epoch=0, base_sequence=0, transactional=True),
        {TXN_STATE},
    ),
    "over max.message.bytes": (
        lambda rng: build_batch([(None, bytes(1_200_000), int(time.time() * 1000))]),
        {TOO_LARGE},
    ),
}

INSIDE: dict[str, tuple[Wrong, set[int]]] = {
    "garbage where records should be": (
        lambda rng: with_fields(batch(rng)[:HEADER_SIZE] + rng.randbytes(50), length=50 + 49),
        {INVALID},
    ),
    "garbage where gzip, snappy, LZ4, zstd should be": (
        lambda rng: with_fields(
            batch(rng)[:HEADER_SIZE] + rng.randbytes(50), length=50 + 49, attributes=rng.randint(1, 4)
        ),
        {INVALID},
    ),
    "compressed and cut": (lambda rng: _compressed_cut(rng), {INVALID}),
}
"""Header and CRC are right."""


def _compressed_cut(rng: random.Random) -> bytearray:
    data = batch(rng, Codec(rng.randint(1, 4)))
    data = data[: rng.randrange(HEADER_SIZE, len(data))]
    return with_fields(data, length=len(data) - LOG_OVERHEAD)


GOOD: dict[str, Wrong] = {
    "a good one": batch,
    "max timestamp wrong": _in_field("max_timestamp", -1, 0, 5, 2**62),
    "LogAppendTime": _in_field("attributes", 8),
}
"""Batches that are accepted with a corrected header."""


def produce(topic: str, records: bytes | bytearray | None, version: int, acks: int = -1) -> bytes:
    """A frame of one Produce of one partition."""
    part = PartitionProduceData(0, None if records is None else bytes(records))
    request = ProduceRequest(None, acks, 60_000, [TopicProduceData(topic, partition_data=[part])])
    return framed(seeds.header(0, version) + wire.encode(request, version))


def code_of(answer: bytes | str, version: int) -> int:
    """The error code that the partition got."""
    if not isinstance(answer, bytes):
        raise Finding(f"Produce v{version}: {answer}")
    at = 4 + wire.response_header_version(0, version)
    (topic,) = wire.decode(ProduceResponse, version, answer[at:]).responses
    return int(topic.partition_responses[0].error_code)


def corrupt_batches(attack: Attack) -> None:
    """Each wrong batch gets Kafka's error; with acks=0, a close."""
    rng = attack.rng
    for _ in rounds(attack, 2):
        with attack.link() as link:
            for what, (make, codes) in (WRONG | INSIDE).items():
                for topic in TOPICS:
                    _expect(attack, link, what, topic, make(rng), codes)
            for what, make in GOOD.items():
                _expect(attack, link, what, rng.choice(TOPICS), make(rng), {0})
        make = rng.choice(list(WRONG.values()))[0]
        with attack.link() as link:
            link.send(produce("fuzz", make(rng), 9, acks=0))
            if not link.ended():
                raise Finding("an error with acks=0 did not close the connection")
            attack.count(f"acks=0: {CLOSED}")


def _expect(
    attack: Attack, link: Link, what: str, topic: str, data: bytes | bytearray | None, codes: set[int]
) -> None:
    version = attack.rng.choice([each for each in VERSIONS if each < BY_ID])
    link.send(produce(topic, data, version))
    answer = link.answer()
    if answer == SILENT:
        raise Finding(f"{what} on {topic}: no answer")
    code = code_of(answer, version)
    if version < ZSTD:
        codes = codes | {CODEC}  # whatever else is wrong, what says that it is zstd is not allowed
    if code not in codes:
        raise Finding(f"{what} on {topic}, Produce v{version}: got {error_name(code)}, not {codes}")
    attack.count(error_name(code) if code else "NONE (a good one)")


def known_kinds(attack: Attack) -> None:
    """Each kind of docs/reference/corrupt-batches.md, on every topic: refused where its table says so."""
    table = {
        kind: answers(KGW)[kind.key].code for kind in KINDS if kind.topic == "plain" and kind.group != "bomb"
    }
    for _ in rounds(attack, 1):
        with attack.link() as link:
            for kind, name in table.items():
                for topic in TOPICS:
                    link.send(produce(topic, kind.make(int(time.time() * 1000)), 9))
                    code = code_of(link.answer(), 9)
                    keyless = topic == "compacted" and code == INVALID  # one that is right has no key
                    if not keyless and error_name(code) != ("NONE" if name == TAKEN else name):
                        raise Finding(f"{kind.id} on {topic}: got {error_name(code)}, not {name}")
                    attack.count(error_name(code))


def random_batches(attack: Attack) -> None:
    """Valid batches with bytes flipped, and the CRC made anew so that only what they say is wrong."""
    from tests.fuzz.mutate import flipped

    rng = attack.rng
    with attack.link() as link:
        for turn in rounds(attack, 300):
            data = bytearray(flipped(bytes(batch(rng, Codec(turn % 5))), rng))
            if turn % 3 and len(data) > HEADER_SIZE:
                data = with_fields(data)
            version = rng.choice([each for each in VERSIONS if each < BY_ID])
            link.send(produce(rng.choice(TOPICS), data, version))
            attack.count(error_name(code_of(link.answer(), version)))
