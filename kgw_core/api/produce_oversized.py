"""Decodes the beginning of a Produce that is too large, to refuse it."""

from __future__ import annotations

import struct

from kgw_core.wire.failures import DECODE_ERRORS, Bad
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kgw_core.wire.primitives import MAX_STRING, read_uvarint

TRANSACTIONAL, FLEXIBLE, BY_ID = 3, 9, 13
_INT32 = struct.Struct(">i").unpack_from
_ACKS_AND_TIMEOUT = struct.Struct(">hi")


def beginning(data: memoryview, at: int, version: int) -> ProduceRequest | None:
    """The request whose body begins at ``at``, with its first partition only and without its batch; None if
    the beginning is too short or malformed."""
    flexible = version >= FLEXIBLE
    try:
        transactional_id = None
        if version >= TRANSACTIONAL:
            transactional_id, at = _string(data, at, flexible)
        acks, timeout_ms = _ACKS_AND_TIMEOUT.unpack_from(data, at)
        topics, at = _count(data, at + _ACKS_AND_TIMEOUT.size, flexible)
        topic = TopicProduceData()
        if version >= BY_ID:
            topic.topic_id, at = data[at : at + 16].tobytes(), at + 16
        else:
            name, at = _string(data, at, flexible)
            topic.name = name or ""
        partitions, at = _count(data, at, flexible)
        (index,) = _INT32(data, at)
    except DECODE_ERRORS:
        return None
    if topics < 1 or partitions < 1:
        return None
    topic.partition_data = [PartitionProduceData(index)]
    return ProduceRequest(transactional_id, acks, timeout_ms, [topic])


def _string(data: memoryview, at: int, flexible: bool) -> tuple[str | None, int]:
    if flexible:
        length, at = read_uvarint(data, at)
        length -= 1
    else:
        length, at = int.from_bytes(data[at : at + 2], "big", signed=True), at + 2
    if length < 0:
        return None, at
    if length > MAX_STRING or at + length > len(data):
        raise Bad("a string runs over")
    return str(data[at : at + length], "utf-8"), at + length


def _count(data: memoryview, at: int, flexible: bool) -> tuple[int, int]:
    if flexible:
        count, at = read_uvarint(data, at)
        return count - 1, at
    return _INT32(data, at)[0], at + 4
