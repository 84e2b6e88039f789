"""Varints agree with the protobuf and Kafka documents, and refuse numbers that do not fit."""

import pytest

from kgw_core.records.varint import encode_varint, read_raw32, read_raw64, zigzag

KNOWN = {
    0: "00",
    -1: "01",
    1: "02",
    63: "7e",
    -64: "7f",
    64: "8001",
    -65: "8101",
    8191: "fe7f",
    -8192: "ff7f",
    8192: "808001",
    2**20: "80808001",
    2**27: "8080808001",
    2**31 - 1: "feffffff0f",
    -(2**31): "ffffffff0f",
    2**63 - 1: "feffffffffffffffff01",
    -(2**63): "ffffffffffffffffff01",
}


@pytest.mark.parametrize(("number", "known"), KNOWN.items())
def test_a_number_has_its_known_bytes(number: int, known: str) -> None:
    data = encode_varint(number)
    assert data.hex() == known
    raw, at = read_raw64(data + b"\xff", 0)
    assert (zigzag(raw), at) == (number, len(data))
    if -(2**31) <= number < 2**31:
        raw, at = read_raw32(b"\xff" + data, 1)
        assert (zigzag(raw), at) == (number, len(data) + 1)


@pytest.mark.parametrize("read", [read_raw32, read_raw64])
@pytest.mark.parametrize("length", range(10))
def test_bytes_that_end_first_are_an_index_error(read, length: int) -> None:
    if read is read_raw32 and length >= 5:
        length = 4
    with pytest.raises(IndexError):
        read(b"\x80" * length, 0)


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (read_raw32, "ffffffff1f"),
        (read_raw32, "808080808001"),
        (read_raw64, "ffffffffffffffffff03"),
        (read_raw64, "8080808080808080808001"),
    ],
)
def test_a_number_that_does_not_fit_is_a_value_error(read, data: str) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        read(bytes.fromhex(data), 0)
