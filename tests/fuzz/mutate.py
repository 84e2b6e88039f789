"""Mutators of bytes. Each returns one wrong version, by the random generator."""

from __future__ import annotations

import random
from collections.abc import Callable

Mutator = Callable[[bytes, random.Random], bytes]

_NASTY = (0x00, 0x01, 0x7F, 0x80, 0xFF)
_HUGE = (
    b"\x7f\xff\xff\xff",  # int32, int16 twice
    b"\x80\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x00\xff\xff\xff",
    b"\xff\xff\xff\xff\x07",  # unsigned varint 2**31 - 1
    b"\xff\xff\xff\xff\x0f",  # 2**32 - 1
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
)
_NOT_UTF8 = (b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf")


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Some bytes are others."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        if changed:
            at = rng.randrange(len(changed))
            changed[at] = rng.choice((*_NASTY, changed[at] ^ 1 << rng.randrange(8), rng.randrange(256)))
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    """The end is missing, or some of the middle."""
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] if rng.random() < 0.5 else data[:at] + data[at + rng.randint(1, 8) :]


def inserted(data: bytes, rng: random.Random) -> bytes:
    """Bytes that do not belong there, or a part twice."""
    at = rng.randrange(len(data) + 1)
    more = rng.randbytes(rng.choice((1, 1, 2, 4, 40))) if rng.random() < 0.7 else data[at : at + 50]
    return data[:at] + more + data[at:]


def huge_count(data: bytes, rng: random.Random) -> bytes:
    """A number somewhere is as large, or as negative, as it can be: counts of arrays among them."""
    if not data:
        return rng.choice(_HUGE)
    at = rng.randrange(len(data))
    number = rng.choice(_HUGE)
    return (
        data[:at] + number + data[at + len(number) :]
        if rng.random() < 0.5
        else data[:at] + number + data[at + 1 :]
    )


def not_utf8(data: bytes, rng: random.Random) -> bytes:
    """Bytes that look like text become invalid text."""
    starts = [at for at in range(len(data) - 1) if 0x2D <= data[at] < 0x7B and 0x2D <= data[at + 1] < 0x7B]
    wrong = rng.choice(_NOT_UTF8)
    at = rng.choice(starts) if starts else rng.randrange(len(data) + 1)
    return data[:at] + wrong[: len(data) - at] + data[at + len(wrong) :]


def tagged(data: bytes, rng: random.Random) -> bytes:
    """The tagged fields at the end are not what they should be."""
    return data[:-1] + rng.choice(_TAGS)(rng)


def _many_tags(rng: random.Random) -> bytes:
    count = rng.choice((1_000, 10_000))
    return uvarint(count) + b"".join(uvarint(tag) + b"\0" for tag in range(100, 100 + count))


_TAGS: tuple[Callable[[random.Random], bytes], ...] = (
    _many_tags,
    lambda rng: uvarint(2**31 - 1),  # so many, and then nothing
    lambda rng: uvarint(1) + uvarint(99) + uvarint(2**31 - 1) + b"x",  # one that is longer than the rest
    lambda rng: uvarint(2) + (uvarint(99) + b"\1x") * 2,  # one twice
    lambda rng: uvarint(2) + uvarint(99) + b"\1x" + uvarint(98) + b"\1x",  # not in order
    lambda rng: uvarint(1) + uvarint(2**32 - 1) + b"\0",
    lambda rng: uvarint(1) + uvarint(0) + b"\0",  # a tag that may be known, empty
    lambda rng: uvarint(1) + uvarint(0) + uvarint(5) + rng.randbytes(5),
    lambda rng: uvarint(1) + uvarint(1) + uvarint(20_000) + bytes(20_000),
    lambda rng: b"\xff" * 12,
    lambda rng: b"",
)


def uvarint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
