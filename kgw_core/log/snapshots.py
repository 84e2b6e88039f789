"""Snapshots of a log's producers in the state, as Kafka's ``.snapshot`` files. With one, opening a log need
not read all of it, and a producer is known after its batches were deleted.

A snapshot is the state of the producers below an offset. Opening reads the batches after it; an old snapshot
is as correct as a new one. It has only acknowledged batches, and is postponed if those of a producer are
unknown.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import anyio.lowlevel

from kgw_core.background import Background, brief
from kgw_core.log.kept import Kept
from kgw_core.log.producers import Appended, Producers
from kgw_core.spi.state import ABSENT, VersionConflict
from kgw_core.spi.storage import TopicPartition

if TYPE_CHECKING:
    from kgw_core.log.partition import PartitionLog

logger = logging.getLogger(__name__)

EVERY_BYTES = 16 << 20
"""A snapshot is due when a log has grown by this much. About the most that opening has to read."""

RETRY_BYTES = 1 << 20
"""The further growth after which a postponed snapshot is due again."""

WORTH_BYTES = 256 << 10
"""The smallest growth for a snapshot when the gateway stops."""

MAX_BYTES = 8 << 20
"""A larger snapshot is not stored."""

AT_ONCE = 100
"""How many snapshots one commit stores, unless it gets too large."""

PIECE = 200
"""How many producers are packed at a time: about a millisecond."""

_PREFIX = b"producers/"
_HEAD = struct.Struct(">BqI")
_PRODUCER = struct.Struct(">qhqB")
_BATCH = struct.Struct(">iiqq")


def key(tp: TopicPartition) -> bytes:
    """The key of a log's snapshot in the state."""
    return _PREFIX + tp.topic_id.bytes + tp.partition.to_bytes(4, "big")


class Unsettled(Exception):
    """The acknowledged batches of a producer are unknown, so a snapshot has to be postponed."""


async def packed(producers: Producers, offset: int) -> bytes | None:
    """The snapshot as of ``offset``; None if it would be larger than :data:`MAX_BYTES`.

    Others are served meanwhile. Their appends are not in the snapshot: they are at ``offset`` or later, where
    opening reads them.

    :raises Unsettled: a producer's last acknowledged batch is unknown.
    """
    if _HEAD.size + len(producers) * (_PRODUCER.size + _BATCH.size) > MAX_BYTES:
        return None
    data = bytearray(_HEAD.size)
    count = 0
    for number, producer_id in enumerate(producers.ids(), 1):
        if number % PIECE == 0:
            await anyio.lowlevel.checkpoint()
        producer = producers.get(producer_id)
        if producer is None:
            continue  # it has expired meanwhile
        known = producer.acknowledged()
        if known is None:
            if producer.doubtful:
                raise Unsettled
            continue  # it is new
        batches = [
            _BATCH.pack(entry.first_sequence, entry.last_sequence, *entry.outcome)
            for entry in known.window
            if isinstance(entry.outcome, Appended) and entry.outcome.base_offset < offset
        ]
        if not batches:
            continue
        data += _PRODUCER.pack(producer_id, known.epoch, known.last_timestamp, len(batches))
        for packed_batch in batches:
            data += packed_batch
        count += 1
        if len(data) > MAX_BYTES:
            return None
    _HEAD.pack_into(data, 0, 0, offset, count)
    return bytes(data)


def unpacked(data: bytes) -> tuple[Producers, int]:
    """The producers and the offset. :raises ValueError: the bytes are no snapshot of this version."""
    producers = Producers()
    try:
        version, offset, count = _HEAD.unpack_from(data)
        if version != 0:
            raise ValueError(f"a snapshot of version {version}")
        at = _HEAD.size
        for _ in range(count):
            producer_id, epoch, timestamp, batches = _PRODUCER.unpack_from(data, at)
            at += _PRODUCER.size
            for _ in range(batches):
                first, last, base, append_time = _BATCH.unpack_from(data, at)
                producers.put(producer_id, epoch, first, last, Appended(base, append_time), timestamp)
                at += _BATCH.size
    except struct.error as error:
        raise ValueError(f"a snapshot that is cut off: {error}") from None
    return producers, offset


class Snapshots:
    """The snapshots of all logs. Storing one is retried; without it opening has more to read."""

    def __init__(self, kept: Kept, background: Background) -> None:
        self._kept = kept
        self._due: dict[PartitionLog, None] = {}
        self._saving = anyio.Lock()  # an older snapshot must not be stored after a newer one
        self._keeping = background.chore("keeping snapshots of producers", self._save_due)

    async def load(self, tp: TopicPartition, start: int, end: int) -> tuple[Producers, int]:
        """The producers as of an offset within ``start..end``, from which the batches have to be read.

        A snapshot before the start is not used: batches after it have been deleted, and their producers would
        be out of order.
        """
        entry = await self._kept.state.get(key(tp))
        if entry is not None:
            try:
                producers, offset = unpacked(entry.value)
            except ValueError as error:
                logger.warning("%s: its producers are read from all of its records: %s", tp, error)
            else:
                if start <= offset <= end:  # the batches between it and a later start are unknown
                    return producers, offset
        return Producers(), start

    def due(self, log: PartitionLog) -> None:
        """Store a snapshot of ``log`` in the background."""
        self._due[log] = None
        self._keeping.due()

    async def _save_due(self) -> None:
        while self._due:
            logs = list(islice(self._due, AT_ONCE))
            for log in logs:
                del self._due[log]
            try:
                await self._save(logs)
            except BaseException:
                self._due.update(dict.fromkeys(logs))
                raise

    async def keep(self, log: PartitionLog) -> None:
        """Store a snapshot of ``log`` now. A failure is retried in the background."""
        try:
            await self._save([log])
        except Exception:  # the background logs it
            self.due(log)

    async def finish(self, logs: Iterable[PartitionLog]) -> None:
        """The gateway stops: store snapshots of ``logs`` that have grown enough. A failure is logged."""
        await self._keeping.finish()
        worth = [log for log in logs if log.unsaved >= WORTH_BYTES]
        try:
            await self._save(worth)
        except Exception as error:
            logger.warning(
                "what is known of the producers of %d partition(s) could not be kept, so the next start has "
                "more to read: %s",
                len(worth),
                brief(error),
            )

    async def _save(self, logs: Iterable[PartitionLog]) -> None:
        """Store the snapshots of ``logs`` that can be made. :raises Exception: from the state's commit."""
        async with self._saving:
            values: dict[PartitionLog, bytes] = {}
            size = 0
            for log in logs:
                data = await _taken(log)
                if data is not None:
                    values[log] = data
                    size += len(data)
                if size >= MAX_BYTES:
                    await self._put(values)
                    values, size = {}, 0
            await self._put(values)

    async def _put(self, values: dict[PartitionLog, bytes]) -> None:
        """Store these, except where another gateway has led the log since, and has stored a newer one."""
        try:
            while values:
                versions: dict[PartitionLog, int] = {}
                for log, data in list(values.items()):
                    if log.snapshot_version is None:
                        entry = await self._kept.state.get(key(log.tp))
                        if entry is not None and _offset(entry.value) > _offset(data):
                            del values[log]
                            continue
                        log.snapshot_version = entry.version if entry is not None else ABSENT
                    versions[log] = log.snapshot_version
                try:
                    version = await self._kept.put(key, values, versions)
                except VersionConflict as conflict:
                    for log in versions:
                        if key(log.tp) == conflict.key:
                            log.snapshot_version = None
                else:
                    break
        except BaseException:
            for log in values:
                log.snapshot_version = None  # it may have been stored
                log.unsaved = max(log.unsaved, EVERY_BYTES - RETRY_BYTES)
            raise
        for log, data in values.items():
            log.snapshot_version = version
            log.snapshot_offset = _offset(data)


def _offset(data: bytes) -> int:
    """The offset of a snapshot; -1 if the bytes are none of this version."""
    if len(data) < _HEAD.size or data[0] != 0:
        return -1
    return int(_HEAD.unpack_from(data)[1])


async def _taken(log: PartitionLog) -> bytes | None:
    """The snapshot of the log's producers; None if it has to be postponed, or is too large."""
    log.unsaved = 0
    if log.ready or len(log.producers):  # a closed log has its acknowledged state
        try:
            return await packed(log.producers, log.settled_below)
        except Unsettled:
            pass
    log.unsaved = max(log.unsaved, EVERY_BYTES - RETRY_BYTES)
    return None
