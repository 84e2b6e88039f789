"""The five codecs of a record batch: their numbers, their names, compression and decompression.

The numbers are the low three bits of a batch's attributes. Gzip is RFC 1952, LZ4 the frame format (KIP-57),
zstd RFC 8878 (KIP-110), snappy xerial's framing or none (:mod:`kgw_core.records.snappy`).
"""

from __future__ import annotations

import zlib
from enum import IntEnum

import cramjam

from kgw_core.errors import CorruptMessage, UnsupportedCompressionType
from kgw_core.records.inflate import Data, InflatedTooLarge, inflate_gzip, inflate_into
from kgw_core.records.lz4 import compress_lz4
from kgw_core.records.snappy import compress_snappy, decompress_snappy

__all__ = ["MAX_INFLATED", "Codec", "Data", "InflatedTooLarge", "check_count", "compress", "decompress"]

RECORD_COST = 64
"""The fewest bytes that a record counts against the limit of an inflated batch. It takes as much time to
check a record of 7 bytes as one of 60, and more memory."""
SMALLEST = 7
"""The size of a record without key, value and headers."""
MAX_INFLATED = 100 * 1024 * 1024
"""The default limit of an inflated batch in bytes: Kafka's limit of a request
(``socket.request.max.bytes``)."""


def check_count(records: int, limit: int) -> None:
    """Return if a batch of so many records may be read with this limit of inflated bytes.

    :raises InflatedTooLarge: it has more than one record for each :data:`RECORD_COST` bytes of the limit.
    """
    if records * RECORD_COST > limit:
        raise InflatedTooLarge(
            f"a batch of {records} records is not looked into, at most {limit // RECORD_COST} are"
        )


class Codec(IntEnum):
    """A compression codec. ``codec.label`` is its name in Kafka's configs."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4

    @property
    def label(self) -> str:
        """``none``, ``gzip``, ``snappy``, ``lz4`` or ``zstd``."""
        return self.name.lower()

    @classmethod
    def of_number(cls, number: int) -> Codec:
        """The codec of a number.

        :raises UnsupportedCompressionType: there is no such codec.
        """
        if 0 <= number < len(_CODECS):
            return _CODECS[number]
        raise UnsupportedCompressionType(f"there is no compression codec {number}")

    @classmethod
    def of_label(cls, label: str) -> Codec:
        """The codec of a name in Kafka's configs. ``uncompressed``, a value of topic configs, is ``none``.

        :raises UnsupportedCompressionType: there is no such codec.
        """
        for codec in _CODECS:
            if label == codec.label or (label == "uncompressed" and codec == 0):
                return codec
        raise UnsupportedCompressionType(f"there is no compression codec {label!r}")


_CODECS = tuple(Codec)


def compress(codec: int, data: Data, level: int | None = None) -> bytes:
    """Compress ``data``. ``level`` is on the codec's own scale; ``None`` is the level of Kafka's clients.

    Snappy has no levels. LZ4 is written as Java's client writes it (:mod:`kgw_core.records.lz4`).

    :raises UnsupportedCompressionType: an unknown codec number.
    """
    if codec == Codec.NONE:
        return bytes(data)
    if codec == Codec.GZIP:
        return zlib.compress(data, -1 if level is None else level, zlib.MAX_WBITS | 16)
    if codec == Codec.SNAPPY:
        return compress_snappy(data)
    if codec == Codec.LZ4:
        return compress_lz4(bytes(data), level)
    if codec == Codec.ZSTD:
        return bytes(cramjam.zstd.compress(data, level=3 if level is None else level))
    raise UnsupportedCompressionType(f"there is no compression codec {codec}")


def decompress(codec: int, data: Data, limit: int = MAX_INFLATED) -> bytes:
    """Decompress ``data`` to at most ``limit`` bytes. No more is ever allocated for the output.

    Several gzip members, LZ4 or zstd frames, or xerial streams may follow each other. Data without
    compression is returned whatever its length.

    :raises UnsupportedCompressionType: the codec number is unknown.
    :raises InflatedTooLarge: the data inflates to more than ``limit`` bytes (a :class:`CorruptMessage`).
    :raises CorruptMessage: the data is truncated or malformed, or has bytes after its end.
    """
    if codec == Codec.NONE:
        return bytes(data)
    if not len(data):
        raise CorruptMessage(f"{Codec.of_number(codec).label}: no bytes to decompress")
    if codec == Codec.GZIP:
        return inflate_gzip(data, limit)
    if codec == Codec.SNAPPY:
        return decompress_snappy(data, limit)
    if codec == Codec.LZ4:
        return inflate_into("lz4", cramjam.lz4.decompress_into, data, limit)
    if codec == Codec.ZSTD:
        return inflate_into("zstd", cramjam.zstd.decompress_into, data, limit)
    raise UnsupportedCompressionType(f"there is no compression codec {codec}")
