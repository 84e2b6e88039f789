"""Batches that are wrong inside, or odd, though header and CRC say that all is well: one kind each.

docs/reference/corrupt-batches.md is made from them. What Apache Kafka answered to each is in
``kafka-4.4.0.tsv``, what kgw has to answer in ``kgw.tsv``.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cramjam

from kgw_core.records.batch import CONTROL, DELETE_HORIZON, LOG_APPEND_TIME
from kgw_core.records.compression import Codec, compress
from kgw_core.records.lz4_legacy import xxh32
from kgw_core.records.varint import encode_varint
from tests.corrupt.raw import ENDLESS, batch, header, record

HOUR = 3_600_000
DAY = 24 * HOUR
BOMB = 160 << 20
"""Bytes that a bomb inflates to: more than ``limits.max_inflated_batch``, and LZ4 still gets it below
``max.message.bytes``."""

Make = Callable[[int], bytes]
"""Of the time in ms, a batch."""


@dataclass(frozen=True)
class Kind:
    """One way to be wrong. ``topic`` is a key of :data:`TOPICS`."""

    group: str
    name: str
    make: Make
    topic: str = "plain"

    @property
    def id(self) -> str:
        """Its group and name."""
        return f"{self.group}: {self.name}"

    @property
    def key(self) -> str:
        """Its name in a table of answers."""
        return f"{self.topic}/{self.id}"


TOPICS: dict[str, dict[str, str]] = {
    "plain": {},
    "compacted": {"cleanup.policy": "compact"},
    "bounded": {"message.timestamp.before.max.ms": str(DAY), "message.timestamp.after.max.ms": str(HOUR)},
    "append-time": {"message.timestamp.type": "LogAppendTime"},
    "small-records": {"max.decompressed.message.bytes": "1000"},
    "to-zstd": {"compression.type": "zstd"},
    "to-plain": {"compression.type": "uncompressed"},
}
"""The topics that kinds are sent to, with their configs."""

KINDS: list[Kind] = []


def _add(group: str, name: str, make: Make, topic: str = "plain") -> None:
    KINDS.append(Kind(group, name, make, topic))


def _records(count: int, start: int = 0) -> bytes:
    return b"".join(record(offset) for offset in range(start, start + count))


# -- the header against the records


def _header(name: str, payload: bytes, **fields: Any) -> None:
    _add("header", name, lambda now: batch(payload, now, **fields))


_header("more records counted than there are", _records(2), count=3)
_header("fewer records counted than there are", _records(3), count=2)
_header("2**31 - 1 records counted", _records(2), count=2**31 - 1)
_header("no records, one counted", b"", count=1)
_header("no records, none counted", b"", count=0)
_header("records, none counted", _records(1), count=0)
_header("records, a negative count", _records(1), count=-1)
_header("last offset delta too large", _records(2), count=2, last_delta=2)
_header("last offset delta too small", _records(2), count=2, last_delta=0)
_header("last offset delta negative", _records(1), count=1, last_delta=-1)
_header("base offset not 0", _records(1), base_offset=5)
_header("control bit", _records(1), attributes=CONTROL)
_header("delete horizon bit", _records(1), attributes=DELETE_HORIZON)
_header("attribute bits that nobody has", _records(1), attributes=0x7F80)
_header("codec 5", _records(1), attributes=5)
_header("codec 7", _records(1), attributes=7)
_header("CRC of something else", _records(1), crc=12345)
_header("producer id without a sequence", _records(1), producer=(7, 0, -1))
_header("producer id without an epoch", _records(1), producer=(7_000_001, -1, 0))
_header("negative producer id", _records(1), producer=(-7, 0, 0))


# -- records, as they are and compressed


def _record(name: str, payload: bytes, count: int = 2, **fields: Any) -> None:
    for codec, group in ((Codec.NONE, "record"), (Codec.GZIP, "record, gzip")):
        _add(
            group,
            name,
            lambda now, codec=codec: batch(payload, now, count=count, codec=codec, **fields),  # type: ignore[misc]
        )


def _second(**wrong: Any) -> bytes:
    """A good record and a wrong one."""
    return record(0) + record(1, **wrong)


_record("length over the end of the batch", _second(longer=5))
_record("length 2**31 - 1", _second(length=2**31 - 1))
_record("length into the next record", record(0, longer=3) + record(1))
_record("length too short", record(0, longer=-2) + record(1))
_record("length 0", record(0) + b"\0")
_record("length 0, twice", b"\0\0")
_record("length -1", _second(length=-1))
_record("length -2**31", _second(length=-(2**31)))
_record("length without end", _second(length=ENDLESS))
_record("length of 33 bits", _second(length=b"\x9c\x80\x80\x80\x10"))
_record("length in more bytes than it needs", _second(length=b"\x9c\x80\x00"))
_record("zeros after the last", _records(2) + bytes(9))
_record("one byte after the last", _records(2) + b"\x7f")
_record("the last is cut", _records(2)[:-4])
_record("the last is cut after its length", record(0) + record(1)[:1])
_record("only garbage", bytes((7 * at) % 256 for at in range(60)))
_record("attributes set", record(0, attributes=0xFF) + record(1))
_record("timestamp delta without end", _second(time=ENDLESS))
_record("timestamp delta of 66 bits", _second(time=b"\x80" * 9 + b"\x06"))
_record("timestamp of more than 64 bits", record(0) + record(1, time=2**63 - 1))
_record("timestamp before 1970", record(0, time=-(2**62)) + record(1))
_record("offset delta without end", record(0) + record(ENDLESS))
_record("offset deltas all 0", record(0) + record(0))
_record("offset deltas backwards", record(1) + record(0))
_record("offset deltas with a gap", record(0) + record(2))
_record("offset delta negative", record(-1) + record(1))
_record("offset delta 2**31 - 1", record(0) + record(2**31 - 1))
_record("key length over the record", _second(key_length=20))
_record("key length over the batch", _second(key_length=5000))
_record("key length -2", record(0) + record(1, key=b"", key_length=-2))
_record("key length -2**31", record(0) + record(1, key=b"", key_length=-(2**31)))
_record("key null, in more bytes than it needs", record(0) + record(1, key=b"", key_length=b"\x81\x00"))
_record("key length without end", _second(key_length=ENDLESS))
_record("value length over the record", _second(value_length=7))
_record("value length over the batch", _second(value_length=5000))
_record("value length -2", record(0) + record(1, value=b"", value_length=-2))
_record("value length without end", _second(value_length=ENDLESS))
_record("bytes between value and headers", _second(value=b"", value_length=b"\x02ab", longer=0, after=b"c"))
_record("bytes after the headers", _second(headers=[header()], after=b"xy"))
_record("header count -1", _second(header_count=-1))
_record("header count 2**31 - 1", _second(header_count=2**31 - 1))
_record("header count without end", _second(header_count=ENDLESS))
_record("more headers counted than there are", _second(headers=[header()], header_count=2))
_record("fewer headers counted than there are", _second(headers=[header()] * 2, header_count=1))
_record("header key null", _second(headers=[header(b"", key_length=-1)]))
_record("header key length -2", _second(headers=[header(b"", key_length=-2)]))
_record("header key over the record", _second(headers=[header(key_length=40)]))
_record("header key without end", _second(headers=[header(key_length=ENDLESS)]))
_record("header key that is not UTF-8", _second(headers=[header(b"\xff\xfe")]))
_record("header value over the record", _second(headers=[header(value_length=40)]))
_record("header value length -2", _second(headers=[header(value=b"", value_length=-2)]))
_record("header value length without end", _second(headers=[header(value_length=ENDLESS)]))


# -- compressed data


def _packed(name: str, codec: Codec, packed: bytes, count: int = 2, topic: str = "plain") -> None:
    group = codec.label
    _add(group, name, lambda now: batch(b"", now, count=count, codec=codec, packed=packed), topic)


_TWO = _records(2)
_GARBAGE = bytes((37 * at + 11) % 256 for at in range(64))
_CODECS = (Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD)


def _framed(codec: Codec) -> None:
    good = compress(codec, _TWO)
    _packed("no bytes", codec, b"")
    _packed("garbage", codec, _GARBAGE)
    _packed("records that are not compressed", codec, _TWO)
    _packed("cut in its middle", codec, good[: len(good) // 2])
    _packed("its last byte missing", codec, good[:-1])
    _packed("one bit wrong in its middle", codec, good[:30] + bytes((good[30] ^ 0x10,)) + good[31:])
    _packed("nothing compressed", codec, compress(codec, b""))
    _packed("zeros after it", codec, good + bytes(12))
    _packed("garbage after it", codec, good + _GARBAGE)
    _packed("in two pieces", codec, compress(codec, _TWO[:9]) + compress(codec, _TWO[9:]))
    _packed("the records twice", codec, good + good)
    _packed("an empty piece after it", codec, good + compress(codec, b""))


for _codec in _CODECS:
    _framed(_codec)


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


_packed("zeros after it, on a topic that repacks", Codec.GZIP, _gzip(_TWO) + bytes(12), topic="to-zstd")
_packed("zeros after it, on a topic that unpacks", Codec.GZIP, _gzip(_TWO) + bytes(12), topic="to-plain")
_packed("wrong checksum", Codec.GZIP, _gzip(_TWO)[:-8] + b"abcd" + _gzip(_TWO)[-4:])
_packed("wrong length in its trailer", Codec.GZIP, _gzip(_TWO)[:-4] + b"\x01\x00\x00\x00")
_packed("reserved flags", Codec.GZIP, _gzip(_TWO)[:3] + b"\xe0" + _gzip(_TWO)[4:])
_packed("another method than deflate", Codec.GZIP, _gzip(_TWO)[:2] + b"\x07" + _gzip(_TWO)[3:])
_packed("zlib's framing", Codec.GZIP, zlib.compress(_TWO))


def _lz4(
    data: bytes, *, flags: int = 0x60, size: int = 0x40, header_ok: bool = True, length: int | None = None
) -> bytes:
    """One frame with one block that is stored as it is."""
    descriptor = bytes((flags, size))
    if flags & 0x08:
        descriptor += struct.pack("<Q", len(data) if length is None else length)
    check = xxh32(descriptor) >> 8 & 0xFF
    block = struct.pack("<I", len(data) | 0x8000_0000) + data
    if flags & 0x10:
        block += struct.pack("<I", xxh32(data))
    end = bytes(4) + (struct.pack("<I", xxh32(data)) if flags & 0x04 else b"")
    return b"\x04\x22\x4d\x18" + descriptor + bytes((check if header_ok else check ^ 1,)) + block + end


_packed("a stored block", Codec.LZ4, _lz4(_TWO))
_packed("wrong checksum of the header", Codec.LZ4, _lz4(_TWO, header_ok=False))
_packed("blocks that depend on each other", Codec.LZ4, _lz4(_TWO, flags=0x40))
_packed("checksum of the block", Codec.LZ4, _lz4(_TWO, flags=0x70))
_packed("wrong checksum of the block", Codec.LZ4, _lz4(_TWO, flags=0x70)[:-8] + b"abcd" + bytes(4))
_packed("checksum of the content", Codec.LZ4, _lz4(_TWO, flags=0x64))
_packed("wrong checksum of the content", Codec.LZ4, _lz4(_TWO, flags=0x64)[:-4] + b"abcd")
_packed("length of the content", Codec.LZ4, _lz4(_TWO, flags=0x68))
_packed("wrong length of the content", Codec.LZ4, _lz4(_TWO, flags=0x68, length=7))
_packed("a reserved flag", Codec.LZ4, _lz4(_TWO, flags=0x62))
_packed("a dictionary", Codec.LZ4, _lz4(_TWO, flags=0x61))
_packed("version 2", Codec.LZ4, _lz4(_TWO, flags=0xA0))
_packed("blocks of 16 KiB, which there are none of", Codec.LZ4, _lz4(_TWO, size=0x30))
_packed("a block larger than it says", Codec.LZ4, _lz4(record(0, value=bytes(70_000))), count=1)
_packed("without its end mark", Codec.LZ4, _lz4(_TWO)[:-4])


def _xerial(*blocks: bytes, magic: bytes = b"\x82SNAPPY\x00") -> bytes:
    return b"".join((magic, struct.pack(">ii", 1, 1), *(struct.pack(">i", len(b)) + b for b in blocks)))


def _snappy(data: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(data))


_packed("one block without framing", Codec.SNAPPY, _snappy(_TWO))
_packed("a block that says it is longer", Codec.SNAPPY, _xerial(encode_varint(500) + _snappy(_TWO)[1:]))
_packed("a block that says 4 GiB", Codec.SNAPPY, _xerial(b"\xff\xff\xff\xff\x0f" + _snappy(_TWO)[1:]))
_packed("a block of negative length", Codec.SNAPPY, _xerial(_snappy(_TWO)) + struct.pack(">i", -5) + b"abcde")
_packed("a block of length 0 after it", Codec.SNAPPY, _xerial(_snappy(_TWO)) + bytes(4))
_packed("a block longer than what is left", Codec.SNAPPY, _xerial(_snappy(_TWO)) + struct.pack(">i", 99))
_packed("a copy from before the start", Codec.SNAPPY, _xerial(encode_varint(20)[:1] + b"\x01\xff"))

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = struct.pack("<II", 0x184D_2A50, 6) + b"skipme"


def _zstd_stored(data: bytes, *, descriptor: int = 0x20, extra: bytes = b"", block_type: int = 0) -> bytes:
    """One frame with one raw block; single segment, length of the content in one byte."""
    block = struct.pack("<I", len(data) << 3 | block_type << 1 | 1)[:3]
    return _ZSTD_MAGIC + bytes((descriptor,)) + extra + bytes((len(data),)) + block + data


_packed("a stored block", Codec.ZSTD, _zstd_stored(_TWO))
_packed("a skippable frame after it", Codec.ZSTD, compress(Codec.ZSTD, _TWO) + _SKIPPABLE)
_packed("a skippable frame before it", Codec.ZSTD, _SKIPPABLE + compress(Codec.ZSTD, _TWO))
_packed("a dictionary that nobody has", Codec.ZSTD, _zstd_stored(_TWO, descriptor=0x21, extra=b"\x63"))
_packed("wrong checksum", Codec.ZSTD, _zstd_stored(_TWO, descriptor=0x24) + b"abcd")
_packed("a reserved block type", Codec.ZSTD, _zstd_stored(_TWO, block_type=3))
_packed("a reserved bit", Codec.ZSTD, _zstd_stored(_TWO, descriptor=0x28))
_packed(
    "a window of 2 GiB", Codec.ZSTD,
    _ZSTD_MAGIC + b"\x00" + b"\xa8" + struct.pack("<I", len(_TWO) << 3 | 1)[:3] + _TWO,
)  # fmt: skip


# -- bombs


def _bomb(codec: Codec) -> Make:
    """One record of zeros, in a batch that is right."""

    def make(now: int) -> bytes:
        size = BOMB if codec != Codec.SNAPPY else 18 << 20
        return batch(record(value=bytes(size)), now, codec=codec)

    return make


def _bomb_of_nothing(codec: Codec) -> Make:
    """Zeros where records should be."""
    return lambda now: batch(bytes(BOMB), now, codec=codec)


for _codec in _CODECS:
    _add("bomb", f"{_codec.label}, one record of {'160' if _codec != 2 else '18'} MiB", _bomb(_codec))
for _codec in (Codec.GZIP, Codec.ZSTD):
    _add("bomb", f"{_codec.label}, 160 MiB of zeros", _bomb_of_nothing(_codec))
_add(
    "bomb", "zstd, 4 million records",
    lambda now: batch(bytes((12, 0, 0, 0, 0, 1, 0)) * 4_000_000, now, codec=Codec.ZSTD, count=4_000_000),
)  # fmt: skip


_SMALL_AND_LARGE = record(0) + record(1, value=bytes(2000))
for _codec in (Codec.NONE, Codec.GZIP):
    _add(
        "bomb",
        f"a record of 2 KB, {_codec.label}",
        lambda now, codec=_codec: batch(_SMALL_AND_LARGE, now, codec=codec, count=2),  # type: ignore[misc]
        "small-records",
    )


# -- times


def _times(name: str, payload: bytes, topic: str = "plain", count: int = 2, **fields: Any) -> None:
    def make(now: int) -> bytes:
        shifted = {
            key: now + value if key in ("base_time", "max_time") and value not in (-1, 0, -5) else value
            for key, value in fields.items()
        }
        return batch(payload, now, count=count, **shifted)

    _add("time", name, make, topic)


_LATER = record(0) + record(1, time=1000)
for _name, _codec in (("", Codec.NONE), (", gzip", Codec.GZIP)):
    _times(f"max timestamp -1{_name}", _LATER, max_time=-1, codec=_codec)
    _times(f"max timestamp 0{_name}", _LATER, max_time=0, codec=_codec)
    _times(f"max timestamp behind{_name}", _LATER, max_time=-DAY, codec=_codec)
    _times(f"max timestamp ahead, within the bounds{_name}", _LATER, max_time=HOUR // 2, codec=_codec)
    _times(f"max timestamp ahead, outside{_name}", _LATER, max_time=9 * DAY, codec=_codec)
    _times(f"LogAppendTime{_name}", _LATER, max_time=7, attributes=LOG_APPEND_TIME, codec=_codec)
    _times(
        f"LogAppendTime, max timestamp ahead, outside{_name}", _LATER, max_time=9 * DAY,
        attributes=LOG_APPEND_TIME, codec=_codec,
    )  # fmt: skip
_times("LogAppendTime, max timestamp -1", _LATER, max_time=-1, attributes=LOG_APPEND_TIME)
_times(
    "LogAppendTime, its records outside",
    record(0, time=9 * DAY),
    max_time=7,
    count=1,
    attributes=LOG_APPEND_TIME,
)
_times("LogAppendTime, repacked", _LATER, "to-zstd", max_time=7, attributes=LOG_APPEND_TIME)
_times("LogAppendTime", _LATER, "append-time", max_time=7, attributes=LOG_APPEND_TIME)
_times("CreateTime, long ago", _LATER, "append-time", base_time=-99 * DAY, max_time=-99 * DAY)
_times("one record too early, the header does not say so", record(0, time=-2 * DAY) + record(1), "bounded")
_times("one record too late, the header does not say so", record(0) + record(1, time=2 * HOUR), "bounded")
_times(
    "one too early, one too late",
    record(0, time=-2 * DAY) + record(1) + record(2, time=2 * HOUR),
    "bounded",
    count=3,
)
_EARLY = record(0, time=-2 * DAY) + record(1, time=-2 * DAY)
_LATE = record(0, time=2 * DAY) + record(1, time=2 * DAY)
_times("base timestamp too early, no record is", _LATE, "bounded", base_time=-2 * DAY, max_time=7)
_times("base timestamp too late, no record is", _EARLY, "bounded", base_time=2 * DAY, max_time=7)
_times("no timestamps", _TWO, "bounded", base_time=-1, max_time=-1)
_times("one of two without a timestamp", record(0) + record(1, time=1), "bounded", base_time=-1, max_time=-1)
_times("before 1970", _TWO, "plain", base_time=-5, max_time=-5)
_times("before 1970", _TWO, "bounded", base_time=-5, max_time=-5)


# -- keys


def _keys(name: str, second: bytes, codec: Codec = Codec.NONE) -> None:
    payload = record(0) + second
    _add("key", name, lambda now: batch(payload, now, count=2, codec=codec), "compacted")


_keys("none in one record", record(1, key=b"", key_length=-1))
_keys("none in one record, gzip", record(1, key=b"", key_length=-1), Codec.GZIP)
_keys("length -2 in one record", record(1, key=b"", key_length=-2))


def by_group() -> Iterator[tuple[str, list[Kind]]]:
    """The kinds of each group, in the order of the table."""
    for group in dict.fromkeys(kind.group for kind in KINDS):
        yield group, [kind for kind in KINDS if kind.group == group]
