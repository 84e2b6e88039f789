"""Message sets of formats v0 and v1: known bytes, wrappers, offsets, and every kind of damage."""

import contextlib
import struct
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgw_core.errors import CorruptMessage, InvalidRecord, UnsupportedCompressionType
from kgw_core.records import Codec, InflatedTooLarge, Record, compress, iter_legacy_records
from kgw_core.records.legacy import iter_messages
from kgw_core.records.legacy_build import build_message_set

SETTINGS = settings(derandomize=True, deadline=None, max_examples=100)
OLD_CODECS = [Codec.NONE, Codec.GZIP, Codec.SNAPPY, Codec.LZ4]

data_or_null = st.none() | st.binary(max_size=200)


def message(
    key: bytes | None,
    value: bytes | None,
    *,
    offset: int = 0,
    magic: int = 1,
    attributes: int = 0,
    timestamp: int = -1,
    tail: bytes = b"",
) -> bytes:
    """One message by the format's description, independent of the builder."""

    def field(data: bytes | None) -> bytes:
        return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data

    body = bytes((magic, attributes)) + (struct.pack(">q", timestamp) if magic else b"")
    body += field(key) + field(value) + tail
    return struct.pack(">qiI", offset, len(body) + 4, crc32(body)) + body


def wrapper(inside: bytes, codec: Codec = Codec.GZIP, **fields: int) -> bytes:
    return message(None, compress(codec, inside), attributes=codec | fields.pop("attributes", 0), **fields)


def test_a_v0_message_by_hand() -> None:
    data = bytes.fromhex("0000000000000005 00000010 6d7e9e9b 00 00 00000001 6b 00000001 76")
    data = data[:12] + struct.pack(">I", crc32(data[16:])) + data[16:]
    (record,) = iter_legacy_records(data)
    assert record == Record(b"k", b"v", -1, (), 5)
    assert build_message_set([record], 0) == data


def test_a_v1_message_by_hand() -> None:
    data = bytes.fromhex("0000000000000005 00000016 00000000 01 00 00000000000003e8 ffffffff ffffffff")
    data = data[:12] + struct.pack(">I", crc32(data[16:])) + data[16:]
    (record,) = iter_legacy_records(data)
    assert record == Record(None, None, 1000, (), 5)
    assert build_message_set([record], 1) == data


@SETTINGS
@given(
    st.lists(st.builds(Record, data_or_null, data_or_null, st.integers(-1, 2**60)), min_size=1, max_size=20),
    st.sampled_from(OLD_CODECS),
    st.sampled_from([0, 1]),
    st.integers(0, 2**50),
    st.integers(1, 5),
)
def test_what_is_built_is_read_back(
    records: list[Record], codec: Codec, magic: int, base: int, step: int
) -> None:
    for index, record in enumerate(records):
        record.offset = base + index * step
    data = build_message_set(records, magic, codec=codec)
    if magic == 0:
        for record in records:
            record.timestamp = -1
    if magic == 1 and codec and records[-1].offset == 0:
        base = 0
    assert list(iter_legacy_records(data)) == records


def test_no_records_make_no_set() -> None:
    assert build_message_set([], 1, codec=Codec.GZIP) == b""
    assert list(iter_legacy_records(b"")) == []


def test_zstd_is_not_of_these_formats() -> None:
    with pytest.raises(UnsupportedCompressionType):
        build_message_set([Record(b"k", offset=0)], 1, codec=Codec.ZSTD)
    for attributes in (4, 5, 6, 7):
        with pytest.raises(UnsupportedCompressionType):
            list(iter_legacy_records(message(None, b"x", attributes=attributes)))


def test_offsets_inside_a_v1_wrapper_end_at_the_wrappers() -> None:
    inside = b"".join(message(b"k", None, offset=offset) for offset in (0, 1, 4))
    assert [r.offset for r in iter_legacy_records(wrapper(inside, offset=104))] == [100, 101, 104]
    assert [r.offset for r in iter_legacy_records(wrapper(inside, offset=4))] == [0, 1, 4]


def test_a_v1_wrapper_at_offset_0_was_never_numbered() -> None:
    inside = b"".join(message(b"k", None, offset=offset) for offset in (0, 1, 2))
    assert [r.offset for r in iter_legacy_records(wrapper(inside))] == [0, 1, 2]


def test_a_v1_wrapper_below_the_offsets_inside_is_refused() -> None:
    inside = b"".join(message(b"k", None, offset=offset) for offset in (0, 1, 2))
    with pytest.raises(InvalidRecord, match="offset 1 has offset 2 inside"):
        list(iter_legacy_records(wrapper(inside, offset=1)))


def test_offsets_inside_a_v0_wrapper_are_absolute() -> None:
    inside = b"".join(message(b"k", None, offset=offset, magic=0) for offset in (7, 9))
    assert [r.offset for r in iter_legacy_records(wrapper(inside, offset=9, magic=0))] == [7, 9]


def test_log_append_time_of_a_wrapper_holds_inside() -> None:
    inside = message(b"a", None, timestamp=5) + message(b"b", None, offset=1, timestamp=6)
    assert [r.timestamp for r in iter_legacy_records(wrapper(inside, timestamp=99, offset=1))] == [5, 6]
    marked = wrapper(inside, timestamp=99, offset=1, attributes=8)
    assert [r.timestamp for r in iter_legacy_records(marked)] == [99, 99]


def test_log_append_time_is_written_into_v1_only() -> None:
    records = [Record(b"a", b"", 5, (), 0), Record(b"b", b"", 6, (), 1)]
    for codec in OLD_CODECS:
        messages = list(iter_messages(build_message_set(records, 1, codec=codec, log_append_time=50)))
        assert all(message.log_append_time and message.timestamp == 50 for message in messages)
        messages = list(iter_messages(build_message_set(records, 0, codec=codec, log_append_time=50)))
        assert not any(message.log_append_time for message in messages)


def test_the_lz4_of_v0_has_the_wrong_header_checksum_and_that_of_v1_the_right_one() -> None:
    records = [Record(b"a", bytes(100), 5, (), 3)]
    (old,) = iter_messages(build_message_set(records, 0, codec=Codec.LZ4))
    (new,) = iter_messages(build_message_set(records, 1, codec=Codec.LZ4))
    assert old.value is not None
    assert new.value is not None
    assert old.value[:6] == new.value[:6]
    assert old.value[6] != new.value[6]


@pytest.mark.parametrize("magic", [0, 1])
def test_the_lz4_of_v0_is_read_whatever_its_header_checksum(magic: int) -> None:
    inside = message(b"k", b"v", magic=magic)
    frame = bytearray(compress(Codec.LZ4, inside))
    frame[6] ^= 0x55
    data = message(None, bytes(frame), attributes=Codec.LZ4, magic=magic)
    if magic == 0:
        assert [record.key for record in iter_legacy_records(data)] == [b"k"]
    else:
        with pytest.raises(InvalidRecord):
            list(iter_legacy_records(data))


@pytest.mark.parametrize(
    ("data", "error", "complaint"),
    [
        (wrapper(wrapper(message(b"k", b"v"))), InvalidRecord, "inside a compressed message"),
        (wrapper(message(b"k", b"v", magic=0)), InvalidRecord, "v0 inside one of format v1"),
        (wrapper(message(b"k", b"v"), magic=0), InvalidRecord, "v1 inside one of format v0"),
        (wrapper(b""), InvalidRecord, "no messages inside"),
        (wrapper(message(b"k", b"v")[:-1]), InvalidRecord, "ends 35 bytes into"),
        (message(b"k", None, attributes=1), InvalidRecord, "null value"),
        (message(b"k", b"garbage", attributes=1), InvalidRecord, "gzip"),
        (message(b"k", b"v", tail=b"x"), InvalidRecord, "1 bytes follow"),
        (message(b"k", b"v", magic=2), CorruptMessage, "magic"),
        (message(b"k", b"v", magic=255), CorruptMessage, "magic"),
        (struct.pack(">qi", 0, 13) + bytes(20), CorruptMessage, "13 bytes"),
        (struct.pack(">qi", 0, -1) + bytes(20), CorruptMessage, "-1 bytes"),
        (struct.pack(">qi", 0, 14) + bytes(4) + b"\x01" + bytes(9), CorruptMessage, "v1 says that it has 14"),
    ],
)
def test_a_malformed_set_is_refused(data: bytes, error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        list(iter_legacy_records(data))


@pytest.mark.parametrize("lengths", [(-2, 0), (0, -2), (1000, 0), (0, 1000), (2**31 - 1, 0)])
def test_lengths_that_run_over_are_refused(lengths: tuple[int, int]) -> None:
    body = bytes((0, 0)) + struct.pack(">ii", *lengths)
    data = struct.pack(">qiI", 0, len(body) + 4, crc32(body)) + body
    with pytest.raises(InvalidRecord, match="does not fit"):
        list(iter_legacy_records(data))


def test_a_wrong_crc_is_corrupt_outside_and_inside() -> None:
    data = bytearray(message(b"k", b"v"))
    data[-1] ^= 1
    with pytest.raises(CorruptMessage, match="CRC"):
        list(iter_legacy_records(data))
    with pytest.raises(CorruptMessage, match="CRC"):
        list(iter_legacy_records(wrapper(bytes(data))))


def test_a_message_cut_off_at_the_end_ends_the_set_or_is_refused() -> None:
    whole = message(b"k", b"v")
    for cut in range(1, len(whole)):
        assert len(list(iter_legacy_records(whole + whole[:cut]))) == 1
        with pytest.raises(InvalidRecord, match=f"ends {cut} bytes into"):
            list(iter_legacy_records(whole + whole[:cut], allow_partial=False))


@pytest.mark.parametrize("codec", OLD_CODECS[1:])
def test_the_limit_of_inflation_holds(codec: Codec) -> None:
    data = build_message_set([Record(None, bytes(50_000), 0, (), 0)], 1, codec=codec)
    assert len(list(iter_legacy_records(data, max_inflated=50_034))) == 1
    with pytest.raises(InflatedTooLarge):
        list(iter_legacy_records(data, max_inflated=50_033))


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", OLD_CODECS)
def test_damage_behind_a_right_crc_is_read_or_refused(codec: Codec, magic: int) -> None:
    good = build_message_set([Record(b"key", b"v" * i, i, (), i) for i in range(6)], magic, codec=codec)
    for at in range(len(good)):
        for flip in (0x01, 0x80, 0xFF):
            data = bytearray(good)
            data[at] ^= flip
            size = struct.unpack_from(">i", data, 8)[0]
            if 4 <= size <= len(data) - 12:
                struct.pack_into(">I", data, 12, crc32(data[16 : 12 + size]))
            with contextlib.suppress(CorruptMessage, InvalidRecord, UnsupportedCompressionType):
                list(iter_legacy_records(data, max_inflated=10_000))


@SETTINGS
@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(CorruptMessage, InvalidRecord):
        list(iter_legacy_records(data))
