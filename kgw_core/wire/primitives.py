"""Kafka's variable-length integers, and the length prefixes made of them.

Readers take a buffer and a position, and return the value and the position after it. They raise
:class:`~kgw_core.wire.failures.Bad` for a number that is too long, and IndexError at the end of the buffer.
Callers turn both into one error.

Source: the Kafka protocol guide, "Protocol Primitive Types". Unsigned varints hold 32 bits in up to 5 bytes,
varlongs 64 bits in up to 10; signed ones are zigzag.
"""

from __future__ import annotations

from kgw_core.wire.base import Buffer
from kgw_core.wire.failures import Bad

MAX_STRING = 0x7FFF
"""The most bytes of a string in UTF-8, with either form of its length, as in Kafka."""

UVARINT = tuple(bytes((n,)) for n in range(128))
"""Every unsigned varint of one byte."""


def read_uvarint(buf: Buffer, pos: int) -> tuple[int, int]:
    """An unsigned varint of at most 32 bits."""
    byte = buf[pos]
    if byte < 0x80:
        return byte, pos + 1
    value = byte & 0x7F
    byte = buf[pos + 1]
    if byte < 0x80:
        return value | byte << 7, pos + 2
    value |= (byte & 0x7F) << 7
    byte = buf[pos + 2]
    if byte < 0x80:
        return value | byte << 14, pos + 3
    value |= (byte & 0x7F) << 14
    byte = buf[pos + 3]
    if byte < 0x80:
        return value | byte << 21, pos + 4
    value |= (byte & 0x7F) << 21
    byte = buf[pos + 4]
    if byte < 0x10:
        return value | byte << 28, pos + 5
    raise Bad("a varint has more than 32 bits")


def read_uvarlong(buf: Buffer, pos: int) -> tuple[int, int]:
    """An unsigned varint of at most 64 bits."""
    value = shift = 0
    while True:
        byte = buf[pos]
        pos += 1
        if shift == 63 and byte > 1:
            raise Bad("a varlong has more than 64 bits")
        if byte < 0x80:
            return value | byte << shift, pos
        value |= (byte & 0x7F) << shift
        shift += 7


def read_varint(buf: Buffer, pos: int) -> tuple[int, int]:
    """A signed (zigzag) varint of at most 32 bits."""
    byte = buf[pos]
    if byte < 0x80:
        return byte >> 1 ^ -(byte & 1), pos + 1
    value, pos = read_uvarint(buf, pos)
    return value >> 1 ^ -(value & 1), pos


def read_varlong(buf: Buffer, pos: int) -> tuple[int, int]:
    """A signed (zigzag) varint of at most 64 bits."""
    byte = buf[pos]
    if byte < 0x80:
        return byte >> 1 ^ -(byte & 1), pos + 1
    value, pos = read_uvarlong(buf, pos)
    return value >> 1 ^ -(value & 1), pos


def read_string_length(buf: Buffer, pos: int) -> tuple[int, int]:
    """The compact length of a string, plus one (0 is null). Called only for lengths of more than one byte."""
    value, end = read_uvarint(buf, pos)
    if value > MAX_STRING + 1:
        raise Bad(f"a string has a length of {value - 1}, the most is {MAX_STRING}")
    return value, end


def skip_tags(buf: memoryview, pos: int) -> int:
    """Skip a section of unknown tagged fields. `pos` is the position of their count."""
    count, pos = read_uvarint(buf, pos)
    size = len(buf)
    for _ in range(count):
        _, pos = read_uvarint(buf, pos)
        length, pos = read_uvarint(buf, pos)
        if length > size - pos:
            raise Bad(f"a tagged field has a length of {length} where {size - pos} bytes are left")
        pos += length
    return pos


def uvarint(value: int) -> bytes:
    """`value` as an unsigned varint. :raises ValueError: it is negative or has more than 64 bits."""
    if 0 <= value < 0x80:
        return UVARINT[value]
    if 0 < value < 0x4000:  # most lengths take two bytes or three
        return bytes((value & 0x7F | 0x80, value >> 7))
    if 0 < value < 0x200000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{value} does not fit an unsigned varint")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint(value: int) -> bytes:
    """`value` as a signed (zigzag) varint of at most 32 bits. :raises ValueError: it does not fit."""
    if not -1 << 31 <= value < 1 << 31:
        raise ValueError(f"{value} does not fit a varint")
    return uvarint((value << 1 ^ value >> 31) & 0xFFFFFFFF)


def varlong(value: int) -> bytes:
    """`value` as a signed (zigzag) varint of at most 64 bits. :raises ValueError: it does not fit."""
    if not -1 << 63 <= value < 1 << 63:
        raise ValueError(f"{value} does not fit a varlong")
    return uvarint((value << 1 ^ value >> 63) & 0xFFFFFFFFFFFFFFFF)


def size_of_uvarint(value: int) -> int:
    """How many bytes :func:`uvarint` makes of `value`."""
    return (value.bit_length() + 6) // 7 or 1


def string_length(value: int) -> bytes:
    """The compact length (plus one) of a string."""
    if value > MAX_STRING + 1:
        raise Bad(f"a string has a length of {value - 1}, the most is {MAX_STRING}")
    return uvarint(value)


def add_tag(parts: list[Buffer], tag: int, content: list[Buffer]) -> None:
    """Add one tagged field with its encoded content to the section `parts`."""
    parts.append(uvarint(tag))
    parts.append(uvarint(sum(map(len, content))))
    parts.extend(content)
