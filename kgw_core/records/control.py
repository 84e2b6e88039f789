"""Control records, which a broker writes into a log beside the clients' records (KIP-98).

The key is an int16 version and an int16 type. The value of an end-of-transaction marker is an int16 version
and the int32 epoch of the transaction coordinator. Newer versions append fields, which are kept but not read.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from kgw_core.errors import InvalidRecord
from kgw_core.records.batch import NO_LEADER_EPOCH
from kgw_core.records.builder import build_batch
from kgw_core.records.record import Record

_KEY = struct.Struct(">hh")
_END = struct.Struct(">hi")


class ControlType(IntEnum):
    """Kafka's types of control records. Those from 2 on occur only in its metadata log."""

    ABORT = 0
    COMMIT = 1
    LEADER_CHANGE = 2
    SNAPSHOT_HEADER = 3
    SNAPSHOT_FOOTER = 4
    KRAFT_VERSION = 5
    KRAFT_VOTERS = 6


class ControlRecord:
    """A parsed control record.

    ``type`` may be a number that :class:`ControlType` does not know. ``coordinator_epoch`` is ``None`` except
    for COMMIT and ABORT. ``value`` is the unparsed value.
    """

    __slots__ = ("coordinator_epoch", "type", "value", "version")

    def __init__(self, type: int, version: int, value: bytes | None, coordinator_epoch: int | None) -> None:
        self.type = type
        self.version = version
        self.value = value
        self.coordinator_epoch = coordinator_epoch

    @property
    def ends_transaction(self) -> bool:
        return self.type in (ControlType.ABORT, ControlType.COMMIT)

    def __repr__(self) -> str:
        return f"ControlRecord(type={self.type}, version={self.version}, epoch={self.coordinator_epoch})"


def parse_control(record: Record) -> ControlRecord:
    """Parse a control record.

    :raises InvalidRecord: the key is missing or too short, an end marker's value is too short, or a version
        is negative.
    """
    if record.key is None or len(record.key) < _KEY.size:
        raise InvalidRecord(f"control record at offset {record.offset} has no key of {_KEY.size} bytes")
    version, type_ = _KEY.unpack_from(record.key)
    if version < 0:
        raise InvalidRecord(f"control record at offset {record.offset} has version {version}")
    epoch = None
    if type_ in (ControlType.ABORT, ControlType.COMMIT):
        if record.value is None or len(record.value) < _END.size:
            raise InvalidRecord(
                f"transaction marker at offset {record.offset} has no value of {_END.size} bytes"
            )
        value_version, epoch = _END.unpack_from(record.value)
        if value_version < 0:
            raise InvalidRecord(f"transaction marker at offset {record.offset} has version {value_version}")
    return ControlRecord(type_, version, record.value, epoch)


def end_marker(commit: bool, coordinator_epoch: int, timestamp: int) -> Record:
    """The record that commits or aborts a producer's transaction. ``timestamp`` is in milliseconds."""
    kind = ControlType.COMMIT if commit else ControlType.ABORT
    return Record(_KEY.pack(0, kind), _END.pack(0, coordinator_epoch), timestamp)


def build_end_marker(
    commit: bool,
    *,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
    timestamp: int,
    base_offset: int = 0,
    leader_epoch: int = NO_LEADER_EPOCH,
) -> bytearray:
    """The batch that ends a producer's transaction in one partition: transactional, control, one marker."""
    return build_batch(
        (end_marker(commit, coordinator_epoch, timestamp),),
        base_offset=base_offset,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        leader_epoch=leader_epoch,
        transactional=True,
        control=True,
    )
