"""Message sets of formats v0 and v1, as old producers send them, wrong in one way each."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from zlib import crc32

from kgw_core.errors import error_name
from kgw_core.records import Codec, Record, compress
from kgw_core.records.legacy_build import build_message_set
from tests.fuzz.attack import Attack, Finding
from tests.fuzz.batches import CODEC, CORRUPT, INVALID, batch, code_of, produce
from tests.fuzz.frames import rounds
from tests.fuzz.mutate import flipped

Wrong = Callable[[random.Random], bytes]


def message_set(rng: random.Random, magic: int = -1, codec: Codec = Codec.NONE, count: int = 0) -> bytes:
    """A valid one."""
    magic = rng.randrange(2) if magic < 0 else magic
    now = int(time.time() * 1000)
    records = [
        Record(b"k", rng.randbytes(rng.randrange(100)), now, (), at)
        for at in range(count or rng.randint(1, 6))
    ]
    return build_message_set(records, magic, codec=codec)


def message(
    value: bytes | None, *, magic: int = 1, attributes: int = 0, offset: int = 0, size: int | None = None
) -> bytes:
    """One message as it is asked for, with the CRC that fits."""
    head = struct.pack(">bb", magic, attributes)
    if magic:
        head += struct.pack(">q", int(time.time() * 1000))
    body = (
        head + struct.pack(">i", -1) + struct.pack(">i", -1 if value is None else len(value)) + (value or b"")
    )
    return struct.pack(">qiI", offset, len(body) + 4 if size is None else size, crc32(body)) + body


def _bad_crc(rng: random.Random) -> bytes:
    data = bytearray(message_set(rng))
    data[12 + rng.randrange(4)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _nested(rng: random.Random, magic: int = 1) -> bytes:
    inner = build_message_set([Record(None, b"v", 1, (), 0)], magic, codec=Codec.GZIP)
    return message(compress(Codec.GZIP, inner), magic=magic, attributes=Codec.GZIP)


def _deep(rng: random.Random) -> bytes:
    data = message_set(rng, 1)
    for _ in range(200):
        data = message(compress(Codec.SNAPPY, data), attributes=Codec.SNAPPY)
    return data


WRONG: dict[str, tuple[Wrong, set[int]]] = {
    "another crc": (_bad_crc, {CORRUPT}),
    "size below the smallest": (
        lambda rng: message(b"v", size=rng.choice((0, 5, -1, -(2**31)))),
        {CORRUPT},
    ),
    "unknown magic": (lambda rng: message(b"v", magic=rng.choice((3, 127, -1))), {CORRUPT, INVALID}),
    "v0 and v1 in one set": (lambda rng: message_set(rng, 0) + message_set(rng, 1), {INVALID}),
    "a v2 batch after v1": (lambda rng: message_set(rng, 1) + batch(rng), {CORRUPT, INVALID}),
    "compressed beside another": (
        lambda rng: message_set(rng, 1) + message_set(rng, 1, Codec.GZIP),
        {INVALID},
    ),
    "compressed, and null": (lambda rng: message(None, attributes=rng.randint(1, 3)), {INVALID}),
    "compressed, and empty": (
        lambda rng: message(compress(Codec.GZIP, b""), attributes=Codec.GZIP),
        {INVALID},
    ),
    "compressed, and garbage": (
        lambda rng: message(rng.randbytes(60), attributes=rng.randint(1, 3)),
        {INVALID},
    ),
    "compressed, and cut": (
        lambda rng: message(compress(Codec.GZIP, message_set(rng, 1)[:-3]), attributes=Codec.GZIP),
        {INVALID},
    ),
    "v0 inside v1": (
        lambda rng: message(compress(Codec.GZIP, message_set(rng, 0)), attributes=Codec.GZIP),
        {INVALID},
    ),
    "a wrapper in a wrapper": (lambda rng: _nested(rng, rng.randrange(2)), {INVALID}),
    "200 wrappers in each other": (_deep, {INVALID}),
    "offsets inside past the wrapper's": (
        lambda rng: message(
            compress(Codec.GZIP, message(b"v", offset=9) + message(b"v", offset=2**62)),
            attributes=Codec.GZIP,
            offset=1,
        ),
        {INVALID},
    ),
    "codec 4 to 7": (lambda rng: message(b"v", attributes=rng.randint(4, 7)), {CODEC}),
    "key longer than the message": (
        lambda rng: _with_key_length(rng.choice((5_000, 2**31 - 1, -2))),
        {INVALID},
    ),
}


def _with_key_length(length: int) -> bytes:
    body = struct.pack(">bbqi", 1, 0, int(time.time() * 1000), length) + struct.pack(">i", 1) + b"v"
    return struct.pack(">qiI", 0, len(body) + 4, crc32(body)) + body


def corrupt_sets(attack: Attack) -> None:
    """Each wrong set gets Kafka's error."""
    rng = attack.rng
    for _ in rounds(attack, 2):
        with attack.link() as link:
            for what, (make, codes) in WRONG.items():
                version = rng.randrange(3)
                link.send(produce("fuzz", make(rng), version))
                code = code_of(link.answer(), version)
                if code not in codes:
                    raise Finding(f"{what}, Produce v{version}: got {error_name(code)}, not {codes}")
                attack.count(error_name(code))
            for magic in (0, 1):
                for codec in (Codec.NONE, Codec.GZIP, Codec.SNAPPY, Codec.LZ4):
                    link.send(produce("fuzz", message_set(rng, magic, codec), 2))
                    if code := code_of(link.answer(), 2):
                        raise Finding(f"a good set of v{magic} with {codec.label} got {error_name(code)}")
                    attack.count("NONE (a good one)")


def random_sets(attack: Attack) -> None:
    """Valid sets with bytes flipped, the CRC of the first message made anew."""
    rng = attack.rng
    with attack.link() as link:
        for turn in rounds(attack, 200):
            data = bytearray(flipped(message_set(rng, codec=Codec(turn % 4)), rng))
            if turn % 4 and len(data) > 16:
                size = int.from_bytes(data[8:12], "big")
                data[12:16] = crc32(data[16 : 12 + size]).to_bytes(4, "big")
            version = rng.randrange(3)
            link.send(produce(rng.choice(("fuzz", "squeezed", "compacted")), data, version))
            attack.count(error_name(code_of(link.answer(), version)))
