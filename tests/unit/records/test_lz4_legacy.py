"""The header checksum of LZ4 frames in message format v0, right and wrong."""

import pytest

from kgw_core.errors import CorruptMessage
from kgw_core.records import Codec, compress, decompress
from kgw_core.records.lz4_legacy import with_right_checksum, with_wrong_checksum, xxh32

# Published test vectors of XXH32 with seed 0.
VECTORS = {
    b"": 0x02CC5D05,
    b"a": 0x550D7456,
    b"abc": 0x32D153FF,
    b"Nobody inspects the spammish repetition": 0xE2293B2F,
}


@pytest.mark.parametrize(("data", "known"), VECTORS.items())
def test_xxh32_has_its_known_values(data: bytes, known: int) -> None:
    assert xxh32(data) == known


def test_a_frame_is_made_wrong_and_right_again() -> None:
    frame = compress(Codec.LZ4, b"some bytes")
    wrong = with_wrong_checksum(frame)
    assert wrong != frame
    assert wrong[6] == xxh32(frame[:6]) >> 8 & 0xFF
    assert frame[6] == xxh32(frame[4:6]) >> 8 & 0xFF
    with pytest.raises(CorruptMessage):
        decompress(Codec.LZ4, wrong)
    assert with_right_checksum(wrong) == with_right_checksum(frame) == frame
    assert decompress(Codec.LZ4, with_right_checksum(wrong)) == b"some bytes"


def test_content_size_and_dictionary_move_the_checksum() -> None:
    frame = bytes.fromhex("04224d18 6940") + bytes(12) + b"\xee" + b"rest"
    right = with_right_checksum(frame)
    assert right == frame[:18] + bytes((xxh32(frame[4:18]) >> 8 & 0xFF,)) + b"rest"


def test_a_header_cut_short_is_corrupt() -> None:
    for frame in (b"", b"\x04\x22\x4d\x18\x60\x40", bytes.fromhex("04224d18 6840") + bytes(8)):
        with pytest.raises(CorruptMessage):
            with_right_checksum(frame)
