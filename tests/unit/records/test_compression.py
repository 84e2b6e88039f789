"""The codecs: writing, reading, and the limit of memory for every input."""

import contextlib
import gzip
import random
import resource
import struct
import zlib
from itertools import pairwise

import cramjam
import pytest
from aiokafka import codec as aiokafka_codec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kafka import codec as kafka_python_codec

from kgw_core.errors import CorruptMessage, UnsupportedCompressionType
from kgw_core.records import Codec, InflatedTooLarge, compress, decompress
from kgw_core.records.pieces import inflate_arrived

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)
CODECS = [codec for codec in Codec if codec]
TEXT = b"".join(b"line %d of text that repeats itself. " % i for i in range(4000))


@SETTINGS
@given(st.sampled_from(Codec), st.binary(max_size=2000), st.integers(1, 100))
@example(Codec.SNAPPY, b"", 1)
def test_what_is_compressed_is_inflated(codec: Codec, data: bytes, times: int) -> None:
    data *= times
    packed = compress(codec, data)
    assert decompress(codec, packed) == data
    assert decompress(codec, memoryview(bytearray(packed)), len(data)) == data


@pytest.mark.parametrize("codec", CODECS)
def test_text_gets_smaller(codec: Codec) -> None:
    assert len(compress(codec, TEXT)) < len(TEXT) / 3
    assert decompress(codec, compress(codec, memoryview(TEXT), 1)) == TEXT


def test_codecs_have_kafkas_numbers_and_names() -> None:
    assert {codec.label: int(codec) for codec in Codec} == {
        "none": 0,
        "gzip": 1,
        "snappy": 2,
        "lz4": 3,
        "zstd": 4,
    }
    assert all(Codec.of_label(codec.label) is Codec.of_number(codec) is codec for codec in Codec)
    assert Codec.of_label("uncompressed") is Codec.NONE


@pytest.mark.parametrize("number", [-1, 5, 7, 99])
def test_an_unknown_codec_is_unsupported(number: int) -> None:
    for call in (
        lambda: compress(number, b"x"),
        lambda: decompress(number, b"x"),
        lambda: Codec.of_number(number),
    ):
        with pytest.raises(UnsupportedCompressionType):
            call()
    with pytest.raises(UnsupportedCompressionType):
        decompress(number, b"")
    with pytest.raises(UnsupportedCompressionType):
        Codec.of_label("brotli")


def test_the_limit_is_no_matter_to_what_is_not_compressed() -> None:
    assert decompress(Codec.NONE, b"four", 3) == b"four"


THEIR_NAMES = {Codec.GZIP: "gzip", Codec.SNAPPY: "snappy", Codec.LZ4: "lz4", Codec.ZSTD: "zstd"}


@pytest.mark.parametrize("data", [b"", b"x", TEXT, bytes(100_000)])
@pytest.mark.parametrize("codec", CODECS)
def test_aiokafka_and_we_read_each_other(codec: Codec, data: bytes) -> None:
    encode = getattr(aiokafka_codec, f"{THEIR_NAMES[codec]}_encode")
    decode = getattr(aiokafka_codec, f"{THEIR_NAMES[codec]}_decode")
    if data or codec != Codec.SNAPPY:  # its reader takes a xerial header with no blocks for raw snappy
        assert bytes(decode(compress(codec, data))) == data
    assert decompress(codec, bytes(encode(data))) == data


@pytest.mark.parametrize("data", [b"", TEXT])
def test_kafka_python_and_we_read_each_others_gzip(data: bytes) -> None:
    assert kafka_python_codec.gzip_decode(compress(Codec.GZIP, data)) == data
    assert decompress(Codec.GZIP, kafka_python_codec.gzip_encode(data)) == data


# --- forms that clients write


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        lambda data: zlib.compress(data, 0, 31),
        lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
        lambda data: b"".join(gzip.compress(data[at : at + 99]) for at in range(0, len(data), 99)),
        lambda data: gzip.compress(data) + gzip.compress(b""),
    ],
)
def test_gzip_members_follow_each_other(pack) -> None:
    packed = pack(TEXT)
    assert decompress(Codec.GZIP, packed, len(TEXT)) == TEXT
    with pytest.raises(InflatedTooLarge):
        decompress(Codec.GZIP, packed, len(TEXT) - 1)


def lz4_frame(data: bytes, **options: bool) -> bytes:
    stream = cramjam.lz4.Compressor(**options)
    for at in range(0, len(data), 10_000):
        stream.compress(data[at : at + 10_000])
    return bytes(stream.finish())


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("linked", [True, False])
def test_lz4_frames_of_any_kind_are_read(checksum: bool, linked: bool) -> None:
    frame = lz4_frame(TEXT, content_checksum=checksum, block_linked=linked)
    assert decompress(Codec.LZ4, frame) == TEXT
    assert decompress(Codec.LZ4, frame + frame) == TEXT * 2


def test_an_lz4_frame_with_its_content_size_is_read() -> None:
    # Flags: version 1, independent blocks, content size. The block of 5 bytes is stored as it is.
    head = bytes.fromhex("6840") + struct.pack("<Q", 5)
    frame = bytes.fromhex("04224d18") + head + bytes.fromhex("af") + struct.pack("<I", 5 | 1 << 31) + b"hello"
    for checksum in range(256):
        try:
            assert decompress(Codec.LZ4, frame[:14] + bytes((checksum,)) + frame[15:] + bytes(4)) == b"hello"
            return
        except CorruptMessage:
            continue
    pytest.fail("no header checksum was right")


@pytest.mark.parametrize("level", [None, 9])
@pytest.mark.parametrize(
    "data", [b"", b"x", TEXT, bytes(200_000), TEXT * 50 + random.Random(4).randbytes(200_000)]
)
def test_lz4_is_written_as_javas_client_writes_it(data: bytes, level: int | None) -> None:
    """Version 1, independent blocks of at most 64 KiB, no checksums: kafka-go 0.4 hangs at blocks'."""
    frame = compress(Codec.LZ4, data, level)
    assert frame[:7] == HEADS[Codec.LZ4]
    assert decompress(Codec.LZ4, frame) == data
    at = 7
    while size := int.from_bytes(frame[at : at + 4], "little") & 0x7FFF_FFFF:
        assert size <= 64 << 10
        at += 4 + size
    assert frame[at:] == bytes(4)


def test_zstd_frames_with_and_without_content_size_are_read() -> None:
    sized = bytes(cramjam.zstd.compress(TEXT))
    stream = cramjam.zstd.Compressor()
    stream.compress(TEXT)
    unsized = bytes(stream.finish())
    for frame in (sized, unsized, sized + unsized, unsized * 3):
        inflated = decompress(Codec.ZSTD, frame)
        assert inflated == TEXT * (len(inflated) // len(TEXT))
        assert len(inflated) >= len(TEXT)


def test_snappy_is_written_in_xerial_blocks_of_32_kib() -> None:
    packed = compress(Codec.SNAPPY, TEXT)
    assert packed[:16] == b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
    at, sizes = 16, []
    while at < len(packed):
        (size,) = struct.unpack_from(">i", packed, at)
        sizes.append(cramjam.snappy.decompress_raw_len(packed[at + 4 : at + 4 + size]))
        at += 4 + size
    assert at == len(packed)
    assert sum(sizes) == len(TEXT)
    assert set(sizes[:-1]) == {32 * 1024}


def test_snappy_is_read_raw_and_framed_and_concatenated() -> None:
    raw = bytes(cramjam.snappy.compress_raw(TEXT))
    framed = compress(Codec.SNAPPY, TEXT)
    assert decompress(Codec.SNAPPY, raw) == TEXT
    assert decompress(Codec.SNAPPY, framed + framed, 2 * len(TEXT)) == TEXT * 2
    assert decompress(Codec.SNAPPY, framed[:16] + framed) == TEXT
    little_endian = framed[:8] + struct.pack("<ii", 1, 1) + framed[16:]
    assert decompress(Codec.SNAPPY, little_endian) == TEXT
    one_block = framed[:16] + struct.pack(">i", len(raw)) + raw
    assert decompress(Codec.SNAPPY, one_block) == TEXT


def test_snappy_that_not_every_client_reads_is_told_apart() -> None:
    """aiokafka takes a framing of another version for a raw block, librdkafka reads the first stream only."""
    raw = bytes(cramjam.snappy.compress_raw(TEXT))
    framed = compress(Codec.SNAPPY, TEXT)
    little_endian = framed[:8] + struct.pack("<ii", 1, 1) + framed[16:]
    limit = 2 * len(TEXT)
    for data, read_by_all in (
        (raw, True),
        (framed, True),
        (little_endian, False),
        (framed[:16] + framed, False),
    ):
        inflated, told = inflate_arrived(Codec.SNAPPY, data, limit)
        assert (bytes(inflated), told) == (TEXT, read_by_all)


# --- damage


@pytest.mark.parametrize("codec", CODECS)
def test_a_truncated_input_is_corrupt(codec: Codec) -> None:
    packed = compress(codec, TEXT[:2000] + bytes(range(256)))
    boundaries = {16} if codec == Codec.SNAPPY else set()  # a xerial stream may hold no blocks
    for cut in range(len(packed)):
        if cut not in boundaries:
            with pytest.raises(CorruptMessage):
                decompress(codec, packed[:cut])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("tail", [b"\0", b"abc", bytes(20), b"\xff" * 40])
def test_an_input_with_something_after_its_end_is_corrupt(codec: Codec, tail: bytes) -> None:
    with pytest.raises(CorruptMessage):
        decompress(codec, compress(codec, TEXT) + tail)


@pytest.mark.parametrize("codec", CODECS)
def test_each_flipped_byte_inflates_or_is_corrupt(codec: Codec) -> None:
    packed = compress(codec, TEXT[:1500])
    for at in range(len(packed)):
        for flip in (0x01, 0x40, 0xFF):
            data = bytearray(packed)
            data[at] ^= flip
            with contextlib.suppress(CorruptMessage):
                assert len(decompress(codec, data, 100_000)) <= 100_000


HEADS = {
    Codec.GZIP: b"\x1f\x8b\x08\x00",
    Codec.SNAPPY: compress(Codec.SNAPPY, b""),
    Codec.LZ4: bytes.fromhex("04224d18604082"),
    Codec.ZSTD: bytes.fromhex("28b52ffd"),
}


@SETTINGS
@given(st.sampled_from(CODECS), st.binary(max_size=300), st.booleans())
def test_any_bytes_inflate_or_are_corrupt(codec: Codec, data: bytes, with_head: bool) -> None:
    with contextlib.suppress(CorruptMessage):
        assert len(decompress(codec, HEADS[codec] + data if with_head else data, 5000)) <= 5000


# --- bombs


def gzip_bomb() -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    mebibyte = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    return gzip.compress(b"")[:10] + mebibyte * 512 + stream.flush()


def lz4_bomb() -> bytes:
    block = bytes(cramjam.lz4.compress_block(bytes(64 << 10), store_size=False))
    return HEADS[Codec.LZ4] + (struct.pack("<I", len(block)) + block) * 8192 + bytes(4)


def zstd_bomb() -> bytes:
    """Blocks that say: 128 KiB of one byte; the window of the frame is 8 MiB."""
    block = (128 << 10 << 3 | 1 << 1).to_bytes(3, "little") + b"a"
    return HEADS[Codec.ZSTD] + b"\x00" + bytes((13 << 3,)) + block * 4096


def snappy_bomb() -> bytes:
    block = bytes(cramjam.snappy.compress_raw(bytes(64 << 10)))
    return HEADS[Codec.SNAPPY] + (struct.pack(">i", len(block)) + block) * 8192


def raw_snappy_bomb() -> bytes:
    """A preamble that promises half a gibibyte, and nothing to make it of."""
    return bytes.fromhex("8080808002") + b"\xfe" * 2000


def many_members_bomb() -> bytes:
    return gzip.compress(bytes(1 << 20)) * 512


@pytest.mark.parametrize(
    ("codec", "make"),
    [
        (Codec.GZIP, gzip_bomb),
        (Codec.GZIP, many_members_bomb),
        (Codec.LZ4, lz4_bomb),
        (Codec.ZSTD, zstd_bomb),
        (Codec.SNAPPY, snappy_bomb),
    ],
)
@pytest.mark.parametrize("limit", [1000, 1 << 20])
def test_a_bomb_of_512_mib_costs_no_more_than_the_limit(codec: Codec, make, limit: int) -> None:
    """The peak of the process's resident memory includes the decompressors' memory."""
    bomb = make()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InflatedTooLarge):
        decompress(codec, bomb, limit)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 64 << 10  # KiB


@pytest.mark.parametrize("codec", CODECS)
def test_the_limit_is_exact(codec: Codec) -> None:
    for size, other in pairwise((0, 1, 16_383, 16_384, 16_385, 65_536, 65_537, 300_000, 300_001)):
        packed = compress(codec, bytes(other))
        assert len(decompress(codec, packed, other)) == other
        with pytest.raises(InflatedTooLarge):
            decompress(codec, packed, size)


@pytest.mark.parametrize("limit", [1000, 1 << 30])
def test_a_false_promise_of_a_snappy_block_is_corrupt_before_anything_is_made(limit: int) -> None:
    with pytest.raises(CorruptMessage, match="a block of 2005 bytes declares 536870912"):
        decompress(Codec.SNAPPY, raw_snappy_bomb(), limit)


def test_a_zstd_window_past_128_mib_is_corrupt() -> None:
    with pytest.raises(CorruptMessage):
        decompress(Codec.ZSTD, HEADS[Codec.ZSTD] + b"\x00" + bytes((20 << 3,)) + bytes(100), 1 << 20)
