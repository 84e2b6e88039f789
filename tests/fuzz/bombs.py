"""Little that decompresses to much, wherever the gateway has to decompress."""

from __future__ import annotations

import struct
from functools import cache

from kgw_core.errors import error_name
from kgw_core.records import HEADER_SIZE, Codec, compress
from kgw_core.records.batch import LOG_OVERHEAD
from tests.fuzz import seeds
from tests.fuzz.attack import Attack, Finding, framed
from tests.fuzz.batches import TOPICS, batch, code_of, produce, with_fields
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
    """Refused on every topic."""
    _make_all()
    for _ in rounds(attack, 1):
        with attack.link() as link:
            for topic in TOPICS:
                for codec in (Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD):
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


def create_topic(topic: str) -> bytes:
    """Metadata v4 of one topic, which makes it."""
    name = topic.encode()
    return framed(
        seeds.header(3, 4) + struct.pack(">i", 1) + struct.pack(">h", len(name)) + name + struct.pack(">b", 1)
    )
