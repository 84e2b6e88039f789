"""Writes LZ4 frames as Kafka's own clients do: independent blocks of 64 KiB, without block checksums.

Block checksums belong to the frame format, but not every decoder has them right. The pierrec/lz4 4.1.15 that
kafka-go 0.4 uses computes them over the inflated bytes. It takes correct blocks for broken, and reads them
again for ever.
"""

from __future__ import annotations

import cramjam

_HEADER = bytes.fromhex("04224d18 60 40 82")
"""Magic, version 1 with independent blocks only, blocks of 64 KiB, and the header's checksum."""
_THEIRS = bytes.fromhex("04224d18 70 40 ad")
"""The library's header: the same with block checksums, which cannot be turned off."""
_STORED = 0x8000_0000
_CHECKSUM = 4


def compress_lz4(data: bytes, level: int | None) -> bytes:
    """One frame with all of ``data``. ``level`` is LZ4's; ``None`` is the fast one."""
    stream = cramjam.lz4.Compressor(level=level or 0, content_checksum=False, block_linked=False)
    stream.compress(data)
    return _without_block_checksums(bytes(stream.finish()))


def _without_block_checksums(frame: bytes) -> bytes:
    if not frame.startswith(_THEIRS):  # another release of the library may obey its flags
        return frame
    parts, at = [_HEADER], len(_THEIRS)
    while size := int.from_bytes(frame[at : at + 4], "little") & ~_STORED:
        end = at + 4 + size
        parts.append(frame[at:end])
        at = end + _CHECKSUM
    parts.append(frame[at:])  # the end mark
    return b"".join(parts)
