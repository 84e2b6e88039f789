"""A record batch of format v2 (KIP-98), read by its 61-byte header.

Bytes 0-7 (base offset) and 12-15 (partition leader epoch) are outside the CRC, which covers byte 21
(attributes) to the end. So a broker stamps both into a batch and changes nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from crc32c import crc32c

from kgw_core.errors import CorruptMessage
from kgw_core.records.compression import MAX_INFLATED, Codec, Data, decompress

HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE = HEADER.size
LOG_OVERHEAD = 12
"""The bytes that ``batch_length`` does not count: the base offset and the length itself."""

MAGIC_AT = 16
CRC_AT = 17
ATTRIBUTES_AT = 21
MAX_TIMESTAMP_AT = 35

CODEC_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
DELETE_HORIZON = 0x40

NO_TIMESTAMP = -1
NO_PRODUCER_ID = -1
NO_PRODUCER_EPOCH = -1
NO_SEQUENCE = -1
NO_LEADER_EPOCH = -1

_MAX_INT64 = 0x7FFF_FFFF_FFFF_FFFF
_CRC = struct.Struct(">I")
_INT64 = struct.Struct(">q")
_INT32 = struct.Struct(">i")


class RecordBatch:
    """The batch at byte ``at`` of ``buffer``: a view, which copies and decompresses nothing.

    The header's fields are attributes, in its order. The CRC is not checked. Later changes of the buffer do
    not change the attributes.

    :raises CorruptMessage: the batch is incomplete, its length is less than a header's, its format is not v2,
        or its last offset does not fit 64 bits.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "attributes",
        "base_offset",
        "base_sequence",
        "base_timestamp",
        "batch_length",
        "crc",
        "last_offset_delta",
        "magic",
        "max_timestamp",
        "partition_leader_epoch",
        "producer_epoch",
        "producer_id",
        "record_count",
    )

    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    def __init__(self, buffer: Data, at: int = 0) -> None:
        there = len(buffer) - at
        if there < HEADER_SIZE:
            raise CorruptMessage(
                f"a record batch has a header of {HEADER_SIZE} bytes, here are {max(there, 0)}"
            )
        (
            self.base_offset,
            self.batch_length,
            self.partition_leader_epoch,
            self.magic,
            self.crc,
            self.attributes,
            self.last_offset_delta,
            self.base_timestamp,
            self.max_timestamp,
            self.producer_id,
            self.producer_epoch,
            self.base_sequence,
            self.record_count,
        ) = HEADER.unpack_from(buffer, at)
        if self.magic != 2:
            raise CorruptMessage(f"a record batch of format (magic) {self.magic}, not 2")
        if self.batch_length < HEADER_SIZE - LOG_OVERHEAD:
            raise CorruptMessage(f"a record batch says that it has {self.batch_length} bytes")
        if self.batch_length > there - LOG_OVERHEAD:
            raise CorruptMessage(f"a record batch of {self.size} bytes, here are {there}")
        if self.base_offset > _MAX_INT64 - 0x7FFF_FFFF and self.last_offset > _MAX_INT64:
            raise CorruptMessage(f"a record batch at base offset {self.base_offset} runs over 64 bits")
        self._buffer = buffer
        self._at = at

    @property
    def size(self) -> int:
        """The size of the whole batch in bytes."""
        return LOG_OVERHEAD + self.batch_length

    @property
    def data(self) -> memoryview:
        """The whole batch."""
        return memoryview(self._buffer)[self._at : self._at + self.size]

    @property
    def payload(self) -> memoryview:
        """The records after the header, compressed with ``codec``."""
        return memoryview(self._buffer)[self._at + HEADER_SIZE : self._at + self.size]

    @property
    def last_offset(self) -> int:
        """The offset of the last record, or of the one before compaction removed it."""
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        """The first offset after this batch."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> int:
        """The sequence number of the last record, or -1. It wraps from 2**31 - 1 to 0."""
        if self.base_sequence < 0:
            return self.base_sequence
        return (self.base_sequence + self.last_offset_delta) & 0x7FFF_FFFF

    @property
    def codec(self) -> Codec:
        """The codec of the records.

        :raises UnsupportedCompressionType: the attributes have an unknown codec.
        """
        return Codec.of_number(self.attributes & CODEC_MASK)

    @property
    def log_append_time(self) -> bool:
        """Whether ``max_timestamp``, the broker's time, is the time of all records."""
        return self.attributes & LOG_APPEND_TIME != 0

    @property
    def is_transactional(self) -> bool:
        return self.attributes & TRANSACTIONAL != 0

    @property
    def is_control(self) -> bool:
        return self.attributes & CONTROL != 0

    @property
    def has_delete_horizon(self) -> bool:
        """Whether ``base_timestamp`` is the time after which compaction may remove tombstones (KIP-534)."""
        return self.attributes & DELETE_HORIZON != 0

    def check_crc(self) -> None:
        """Compare the CRC-32C of byte 21 to the end with the header's.

        :raises CorruptMessage: they differ.
        """
        found = crc32c(memoryview(self._buffer)[self._at + ATTRIBUTES_AT : self._at + self.size])
        if found != self.crc:
            raise CorruptMessage(f"a record batch's CRC is {found:#010x}, its header says {self.crc:#010x}")

    def inflate(self, limit: int = MAX_INFLATED) -> bytes:
        """The records' bytes, decompressed to at most ``limit`` bytes.

        :raises InflatedTooLarge: they inflate to more than ``limit`` bytes.
        :raises UnsupportedCompressionType: the codec is unknown.
        :raises CorruptMessage: they cannot be decompressed.
        """
        return decompress(self.attributes & CODEC_MASK, self.payload, limit)

    def __repr__(self) -> str:
        return (
            f"<RecordBatch {self.base_offset}..{self.last_offset}: {self.record_count} records, "
            f"{self.size} bytes, attributes {self.attributes:#x}>"
        )


def magic_of(buffer: Data, at: int = 0) -> int:
    """The format (magic) of the batch or message at ``at``: 0, 1 or 2. All formats have it at byte 16.

    :raises CorruptMessage: there are fewer than 17 bytes.
    """
    if len(buffer) - at <= MAGIC_AT:
        raise CorruptMessage(f"records of {max(len(buffer) - at, 0)} bytes have no format (magic) byte")
    return buffer[at + MAGIC_AT]


def iter_batches(buffer: Data, *, allow_partial: bool = True) -> Iterator[RecordBatch]:
    """The v2 batches in ``buffer``, which are back to back.

    A batch that is cut off at the end, as by a read with a size limit, ends the iteration.

    :raises CorruptMessage: a batch is damaged, or cut off and ``allow_partial`` is false.
    """
    at, end = 0, len(buffer)
    while at < end:
        if allow_partial:
            there = end - at
            if there < LOG_OVERHEAD:
                return
            (length,) = _INT32.unpack_from(buffer, at + 8)
            if length > there - LOG_OVERHEAD:
                return
        batch = RecordBatch(buffer, at)
        yield batch
        at += LOG_OVERHEAD + batch.batch_length


def stamp(buffer: bytearray | memoryview, base_offset: int, leader_epoch: int, *, at: int = 0) -> None:
    """Write the base offset and leader epoch of a batch in place. The CRC does not cover them."""
    _INT64.pack_into(buffer, at, base_offset)
    _INT32.pack_into(buffer, at + LOG_OVERHEAD, leader_epoch)


def set_log_append_time(buffer: bytearray | memoryview, timestamp_ms: int, *, at: int = 0) -> None:
    """Give all records of a batch the broker's time, in place: attribute bit 3, max timestamp and CRC.

    The records keep their own timestamps, which readers then ignore.

    :raises CorruptMessage: there is no complete v2 batch at ``at``.
    """
    size = RecordBatch(buffer, at).size
    buffer[at + ATTRIBUTES_AT + 1] |= LOG_APPEND_TIME
    _INT64.pack_into(buffer, at + MAX_TIMESTAMP_AT, timestamp_ms)
    _CRC.pack_into(buffer, at + CRC_AT, crc32c(memoryview(buffer)[at + ATTRIBUTES_AT : at + size]))
