"""Variable-length integers, against the definition and at their edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgw_core.wire import primitives as p
from kgw_core.wire.failures import Bad


@given(st.integers(0, 2**32 - 1))
def test_an_unsigned_varint_comes_back(value):
    data = p.uvarint(value)
    assert p.read_uvarint(b"x" + data, 1) == (value, 1 + len(data))
    assert p.size_of_uvarint(value) == len(data)


@given(st.integers(0, 2**64 - 1))
def test_an_unsigned_varlong_comes_back(value):
    data = p.uvarint(value)
    assert p.read_uvarlong(data, 0) == (value, len(data))


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_signed_varint_comes_back(value):
    data = p.varint(value)
    assert p.read_varint(data, 0) == (value, len(data))


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_signed_varlong_comes_back(value):
    data = p.varlong(value)
    assert p.read_varlong(data, 0) == (value, len(data))


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, "00"),
        (-1, "01"),
        (1, "02"),
        (-64, "7f"),
        (64, "8001"),
        (2**31 - 1, "feffffff0f"),
        (-(2**31), "ffffffff0f"),
    ],
)
def test_zigzag_is_as_the_protocol_has_it(value, data):
    assert p.varint(value).hex() == p.varlong(value).hex() == data


@pytest.mark.parametrize("data", ["ffffffff10", "ffffffff7f", "8080808080", "ffffffffff01"])
def test_a_varint_of_more_than_32_bits_is_bad(data):
    for read in (p.read_uvarint, p.read_varint):
        with pytest.raises(Bad, match="more than 32 bits"):
            read(bytes.fromhex(data), 0)


@pytest.mark.parametrize("data", ["ff" * 9 + "02", "ff" * 9 + "81" + "00", "80" * 11])
def test_a_varlong_of_more_than_64_bits_is_bad(data):
    for read in (p.read_uvarlong, p.read_varlong):
        with pytest.raises(Bad, match="more than 64 bits"):
            read(bytes.fromhex(data), 0)


def test_a_number_that_stops_too_early_is_an_index_error():
    for read in (p.read_uvarint, p.read_varint, p.read_uvarlong, p.read_varlong):
        for length in range(5):
            with pytest.raises(IndexError):
                read(b"\x80" * length, 0)


def test_a_number_that_does_not_fit_is_not_written():
    for write, value in ((p.uvarint, -1), (p.uvarint, 2**64), (p.varint, 2**31), (p.varlong, -(2**63) - 1)):
        with pytest.raises(ValueError, match="does not fit"):
            write(value)
