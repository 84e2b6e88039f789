"""Reads back everything that a gateway has, and checks that it is what a log may hold."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Any

from kgw_core import wire
from kgw_core.errors import CorruptMessage
from kgw_core.records import iter_batches
from kgw_core.records.soundness import problem_of
from kgw_core.wire import index
from kgw_core.wire.base import Message
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.metadata import MetadataRequest
from tests.fuzz import seeds
from tests.fuzz.attack import Finding, framed

_METADATA, _FETCH = 9, 12
COMPACTED = "compacted"
"""The topic that may have gaps."""
_MOST = 64 << 20
"""Bytes that a stored batch inflates to at most."""
_MANY = 300
"""Partitions asked for in one Fetch."""


@dataclass
class Stored:
    """What was found."""

    topics: int = 0
    partitions: int = 0
    batches: int = 0
    records: int = 0
    bytes: int = 0


def check_stored(address: tuple[str, int]) -> Stored:
    """Read every partition from its start to its end.

    :raises Finding: a batch with another CRC, or with records that are not well formed or not what its header
        says; a gap (but where compaction made it) or an overlap between batches; an error.
    """
    found = Stored()
    with socket.create_connection(address, 30) as link:
        topics = _ask(link, MetadataRequest(None), _METADATA).topics
        places = [(topic.name, part.partition_index) for topic in topics for part in topic.partitions]
        found.topics, found.partitions = len(topics), len(places)
        for at in range(0, len(places), _MANY):
            offsets = dict.fromkeys(places[at : at + _MANY], -1)
            while offsets:
                _read_on(link, offsets, found)
    return found


def _read_on(link: socket.socket, offsets: dict[tuple[str, int], int], found: Stored) -> None:
    """One Fetch; partitions that are read to their end leave ``offsets``."""
    asked: dict[str, list[FetchPartition]] = {}
    for (name, partition), offset in offsets.items():
        asked.setdefault(name, []).append(
            FetchPartition(partition, fetch_offset=max(offset, 0), partition_max_bytes=4 << 20)
        )
    request = FetchRequest(
        max_wait_ms=0,
        min_bytes=0,
        max_bytes=32 << 20,
        topics=[FetchTopic(name, partitions=parts) for name, parts in asked.items()],
    )
    for topic in _ask(link, request, _FETCH).responses:
        for part in topic.partitions:
            place = (topic.topic, part.partition_index)
            if part.error_code == 1 and offsets[place] < 0:  # records were deleted: from the new start
                offsets[place] = part.log_start_offset if part.log_start_offset > 0 else 0
                if offsets[place] == 0:
                    raise Finding(f"{place}: OFFSET_OUT_OF_RANGE at 0 and the log begins there")
                continue
            if part.error_code:
                raise Finding(f"{place}: Fetch got {part.error_code}")
            offset = _check(place, offsets[place], bytes(part.records or b""), found)
            if offset >= part.high_watermark:
                del offsets[place]
            else:
                offsets[place] = offset


def _check(place: tuple[str, int], offset: int, data: bytes, found: Stored) -> int:
    for batch in iter_batches(data, allow_partial=False):
        try:
            batch.check_crc()
        except CorruptMessage as error:
            raise Finding(f"{place}: {error}") from None
        compacted = place[0] == COMPACTED
        if (offset >= 0 and not (compacted or batch.base_offset <= offset)) or batch.last_offset < offset:
            raise Finding(f"{place}: {batch!r} where offset {offset} should be")
        span = batch.last_offset - batch.base_offset + 1
        if batch.is_control or not (batch.record_count == span or (compacted and batch.record_count < span)):
            raise Finding(f"{place}: {batch!r} should not have been stored")
        if problem := problem_of(batch, compacted=compacted, max_inflated=_MOST):
            raise Finding(f"{place}: {batch!r}: {problem}")
        offset = batch.next_offset
        found.batches += 1
        found.records += batch.record_count
        found.bytes += batch.size
    return max(offset, 0)


def _ask(link: socket.socket, request: Message, version: int) -> Any:
    key = request.API_KEY
    assert key is not None
    link.sendall(framed(seeds.header(key, version) + wire.encode(request, version)))
    (size,) = struct.unpack(">i", _exactly(link, 4))
    return wire.decode(wire.message(index.APIS[key].response), version, _exactly(link, size)[5:])


def _exactly(link: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            raise Finding("the gateway closed the connection that reads back")
        data += more
    return bytes(data)
