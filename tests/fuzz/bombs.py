"""Little that decompresses to much, wherever the gateway has to decompress."""

from __future__ import annotations

import struct
import time
from functools import cache

from kgw_core import wire
from kgw_core.errors import error_name
from kgw_core.records import HEADER_SIZE, Codec, compress
from kgw_core.records.batch import LOG_OVERHEAD
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from tests.fuzz import seeds
from tests.fuzz.attack import Attack, Finding, framed
from tests.fuzz.batches import batch, code_of, produce, with_fields
from tests.fuzz.frames import rounds
from tests.fuzz.message_sets import message
from tests.fuzz.mutate import uvarint

INFLATED = 200 << 20
"""More than ``limits.max_inflated_batch`` is by default, except that snappy and LZ4 cannot make so much of a
message that a topic takes."""

REFUSED = {"CORRUPT_MESSAGE", "INVALID_RECORD", "MESSAGE_TOO_LARGE"}


@cache
def bomb(codec: Codec, inflated: int = INFLATED) -> bytes:
    """Zeros, compressed."""
    if codec == Codec.SNAPPY:
        return uvarint(2**32 - 1) + b"\xfe\0\0" * 1000  # it only says that it is large
    if codec == Codec.LZ4:
        inflated = min(inflated, 180 << 20)
    return compress(codec, bytes(inflated))


def _make_all() -> None:
    """Make them before there is a connection: that takes longer than one may be silent."""
    for codec in (Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD):
        bomb(codec)


def batch_bomb(attack: Attack, codec: Codec, inflated: int = INFLATED) -> bytearray:
    """A v2 batch with a bomb where its records should be."""
    payload = bomb(codec, inflated)
    head = batch(attack.rng)[:HEADER_SIZE]
    fields = {"length": HEADER_SIZE - LOG_OVERHEAD + len(payload), "attributes": int(codec)}
    return with_fields(head + payload, **fields)


def in_batches(attack: Attack) -> None:
    """On topics whose batches are looked into: refused."""
    _make_all()
    for _ in rounds(attack, 1):
        with attack.link() as link:
            for topic in ("squeezed", "compacted"):
                for codec in (Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD):
                    if topic == "squeezed" and codec == Codec.GZIP:
                        continue  # it has the topic's codec already and is not looked into
                    link.send(produce(topic, batch_bomb(attack, codec), 9))
                    _refused(attack, code_of(link.answer(), 9), f"{codec.label} on {topic}")


def in_message_sets(attack: Attack) -> None:
    """In a wrapper of v0 or v1: refused."""
    _make_all()
    for _ in rounds(attack, 1):
        with attack.link() as link:
            for codec in (Codec.GZIP, Codec.SNAPPY, Codec.LZ4):
                for magic in (0, 1):
                    data = message(bomb(codec), magic=magic, attributes=int(codec))
                    link.send(produce("fuzz", data, 2))
                    _refused(attack, code_of(link.answer(), 2), f"{codec.label} in v{magic}")


def _refused(attack: Attack, code: int, what: str) -> None:
    name = error_name(code)
    if name not in REFUSED:
        raise Finding(f"a bomb, {what}: got {name}")
    attack.count(name)


def many_at_once(attack: Attack) -> None:
    """From 16 connections at the same time: no more are inflated at once than there is memory for."""
    data = {
        "squeezed": produce("squeezed", batch_bomb(attack, Codec.ZSTD), 9),
        "fuzz": produce("fuzz", message(bomb(Codec.GZIP), attributes=int(Codec.GZIP)), 2),
    }
    for _ in rounds(attack, 1):
        links = [attack.link() for _ in range(16)]
        try:
            for number, link in enumerate(links):
                link.send(data["squeezed" if number % 2 else "fuzz"])
            for number, link in enumerate(links):
                _refused(attack, code_of(link.answer(30), 9 if number % 2 else 2), "one of 16")
        finally:
            for link in links:
                link.socket.close()


def kept(attack: Attack) -> None:
    """Stored unseen, as any compressed batch is, then asked for in ways that look inside."""
    _make_all()
    topic = f"bomb-{attack.rng.randrange(10**9)}"
    with attack.link() as link:
        link.send(create_topic(topic))
        link.answer()
        for codec in (Codec.GZIP, Codec.ZSTD, Codec.LZ4):
            link.send(produce(topic, batch_bomb(attack, codec), 9))
            if code := code_of(link.answer(), 9):
                raise Finding(f"a batch that nobody has to look into got {error_name(code)}")
        now = int(time.time() * 1000)
        for offset in range(3):
            part = FetchPartition(0, fetch_offset=offset, partition_max_bytes=1 << 20)
            fetch = FetchRequest(
                -1, max_wait_ms=0, min_bytes=1, topics=[FetchTopic(topic, partitions=[part])]
            )
            for version in (0, 2, 3):
                link.send(framed(seeds.header(1, version) + wire.encode(fetch, version)))
                if not isinstance(link.answer(20), bytes):
                    raise Finding(f"Fetch v{version} of a bomb was not answered")
                attack.count("Fetch answered")
        for timestamp in (now - 60_000, now, -3, 0):
            asked = ListOffsetsRequest(
                -1, 0, [ListOffsetsTopic(topic, [ListOffsetsPartition(0, timestamp=timestamp)])]
            )
            version = 7
            link.send(framed(seeds.header(2, version) + wire.encode(asked, version)))
            if not isinstance(link.answer(20), bytes):
                raise Finding("ListOffsets into a bomb was not answered")
            attack.count("ListOffsets answered")


def create_topic(topic: str) -> bytes:
    """Metadata v4 of one topic, which makes it."""
    name = topic.encode()
    return framed(
        seeds.header(3, 4) + struct.pack(">i", 1) + struct.pack(">h", len(name)) + name + struct.pack(">b", 1)
    )
