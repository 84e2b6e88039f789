"""Variable-length integers of records: seven bits in each byte, low bits first, signed ones zigzagged.

A record of format v2 uses them for its length, deltas and field lengths (KIP-98). The readers return the
*raw* unsigned number, from which a caller in a loop sees more at once: an even one is ``raw >> 1``, an odd
one is negative. They raise :class:`IndexError` at the end of the bytes, so that a loop needs no length check,
and :class:`ValueError` for a number that is too large. The caller turns both into an error that names the
record.
"""

from __future__ import annotations

_ONE_BYTE = tuple(bytes(((n << 1 ^ n >> 7) & 0xFF,)) for n in (*range(64), *range(-64, 0)))


def zigzag(raw: int) -> int:
    """The signed number of a raw one: 0, 1, 2, 3 … become 0, -1, 1, -2 …"""
    return raw >> 1 ^ -(raw & 1)


def encode_varint(number: int) -> bytes:
    """A signed number of up to 64 bits, zigzagged, in 1 to 10 bytes."""
    if -64 <= number < 64:
        return _ONE_BYTE[number]  # negative numbers are at the end, for negative indexes
    raw = number << 1 ^ number >> 63
    out = bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


def read_raw32(data: bytes, at: int) -> tuple[int, int]:
    """The raw number at ``at``, of at most 32 bits in 5 bytes, and the position after it.

    :raises ValueError: it does not fit 32 bits.
    :raises IndexError: the bytes end first.
    """
    # Each step adds a byte with its continuation bit and subtracts the bit of the byte before. While that bit
    # is set, the sum is too large for the bytes read so far.
    raw = data[at]
    if raw < 0x80:
        return raw, at + 1
    raw += (data[at + 1] << 7) - 0x80
    if raw < 0x4000:
        return raw, at + 2
    raw += (data[at + 2] << 14) - 0x4000
    if raw < 0x20_0000:
        return raw, at + 3
    raw += (data[at + 3] << 21) - 0x20_0000
    if raw < 0x1000_0000:
        return raw, at + 4
    raw += (data[at + 4] << 28) - 0x1000_0000
    if raw > 0xFFFF_FFFF:
        raise ValueError("a varint does not fit 32 bits")
    return raw, at + 5


def read_raw64(data: bytes, at: int) -> tuple[int, int]:
    """The raw number at ``at``, of at most 64 bits in 10 bytes, and the position after it.

    :raises ValueError: it does not fit 64 bits.
    :raises IndexError: the bytes end first.
    """
    raw = data[at]
    if raw < 0x80:
        return raw, at + 1
    raw += (data[at + 1] << 7) - 0x80
    if raw < 0x4000:
        return raw, at + 2
    raw += (data[at + 2] << 14) - 0x4000
    if raw < 0x20_0000:
        return raw, at + 3
    raw -= 0x20_0000
    at += 3
    for shift in range(21, 64, 7):
        byte = data[at]
        at += 1
        raw += (byte & 0x7F) << shift
        if byte < 0x80 and raw <= 0xFFFF_FFFF_FFFF_FFFF:
            return raw, at
    raise ValueError("a varlong does not fit 64 bits")
