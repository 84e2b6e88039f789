"""The LZ4 frames of message format v0, whose header checksum is wrong (KAFKA-3160).

The last byte of a frame's header is byte 1 of the XXH32 of the descriptor (flags, block size, optional
content size and dictionary id). Kafka before 0.10 included the frame's 4-byte magic. Brokers and clients
still write v0 with this checksum, and ignore it when they read v0. So does this module.
"""

from __future__ import annotations

from kgw_core.errors import CorruptMessage

_CONTENT_SIZE = 0x08
_DICTIONARY_ID = 0x01


def with_wrong_checksum(frame: bytes) -> bytes:
    """The LZ4 frame with the header checksum that old clients expect in a message of format v0.

    :raises CorruptMessage: the frame's header is cut short.
    """
    at = _checksum_at(frame)
    return frame[:at] + _second_byte(frame[:at]) + frame[at + 1 :]


def with_right_checksum(frame: bytes) -> bytes:
    """The LZ4 frame with a correct header checksum.

    :raises CorruptMessage: the frame's header is cut short.
    """
    at = _checksum_at(frame)
    return frame[:at] + _second_byte(frame[4:at]) + frame[at + 1 :]


def _checksum_at(frame: bytes) -> int:
    if len(frame) >= 7:
        flags = frame[4]
        at = 6 + (8 if flags & _CONTENT_SIZE else 0) + (4 if flags & _DICTIONARY_ID else 0)
        if at < len(frame):
            return at
    raise CorruptMessage("lz4: the frame's header is cut short")


def _second_byte(data: bytes) -> bytes:
    return bytes((xxh32(data) >> 8 & 0xFF,))


_PRIME1, _PRIME2, _PRIME3, _PRIME4, _PRIME5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
_MASK = 0xFFFF_FFFF


def xxh32(data: bytes) -> int:
    """XXH32 of a few bytes with seed 0, by its public specification."""
    at, size = 0, len(data)
    if size >= 16:
        lanes = [(_PRIME1 + _PRIME2) & _MASK, _PRIME2, 0, -_PRIME1 & _MASK]
        while at + 16 <= size:
            for lane in range(4):
                word = int.from_bytes(data[at : at + 4], "little")
                lanes[lane] = _rotate(lanes[lane] + word * _PRIME2, 13) * _PRIME1 & _MASK
                at += 4
        total = sum(_rotate(value, by) for value, by in zip(lanes, (1, 7, 12, 18), strict=True))
    else:
        total = _PRIME5
    total += size
    while at + 4 <= size:
        total = _rotate(total + int.from_bytes(data[at : at + 4], "little") * _PRIME3, 17) * _PRIME4
        at += 4
    for byte in data[at:]:
        total = _rotate(total + byte * _PRIME5, 11) * _PRIME1
    total &= _MASK
    total = (total ^ total >> 15) * _PRIME2 & _MASK
    total = (total ^ total >> 13) * _PRIME3 & _MASK
    return total ^ total >> 16


def _rotate(number: int, by: int) -> int:
    number &= _MASK
    return (number << by | number >> 32 - by) & _MASK
