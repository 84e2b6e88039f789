"""Data of logs in the state: snapshots of producers (Kafka's ``.snapshot`` files), and other checkpoints.

A snapshot is the state of a log's producers below an offset. Opening the log reads only the batches after
that offset, and a producer is known after its batches were deleted. An old snapshot is as correct as a new
one. It has only acknowledged batches. If those of a producer are unknown, the snapshot is postponed.

:class:`Checkpoints` stores values of logs, and removes those of deleted logs. Compaction keeps its progress
there, too (Kafka's ``cleaner-offset-checkpoint``).
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import anyio.lowlevel

from kgw_core.background import Background, brief
from kgw_core.log.producers import Appended, Producers
from kgw_core.spi.state import ABSENT, StateStore, VersionConflict
from kgw_core.spi.storage import TopicPartition
from kgw_core.topics.catalog import TopicState

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

REMOVED_AT_ONCE: Final = 500
"""How many deleted logs one commit removes."""

_PREFIX = b"producers/"
_HEAD = struct.Struct(">BqI")
_PRODUCER = struct.Struct(">qhqB")
_BATCH = struct.Struct(">iiqq")


class CheckpointedLog(Protocol):
    """A log as :class:`Checkpoints` sees it."""

    tp: TopicPartition
    topic: TopicState[Any]


class SnapshottedLog(CheckpointedLog, Protocol):
    """A log as :class:`Snapshots` sees it. The attributes are those of
    :class:`~kgw_core.log.log_state.LogState`."""

    ready: bool
    producers: Producers
    unsaved: int
    snapshot_offset: int
    snapshot_version: int | None

    @property
    def settled_below(self) -> int: ...


L = TypeVar("L", bound=CheckpointedLog)

Key: TypeAlias = Callable[[TopicPartition], bytes]
"""The key of a log's value of one kind."""

NO_VERSIONS: Final[Mapping[Any, int]] = {}


class Checkpoints:
    """Values in ``state`` under the ``keys`` of logs. Those of deleted logs are removed in the background."""

    def __init__(self, state: StateStore, keys: Sequence[Key], background: Background) -> None:
        self.state = state
        self._keys = keys
        self._gone: dict[TopicPartition, None] = {}
        self._removing = background.chore("forgetting deleted partitions", self._remove)

    async def put(self, key: Key, values: Mapping[L, bytes], versions: Mapping[L, int] = NO_VERSIONS) -> int:
        """Store the value of each log under its ``key``, except of logs that are deleted meanwhile. Return
        the version of the commit, or 0. ``versions`` are those that the keys are expected to have.

        :raises VersionConflict: one has another version.
        :raises Exception: from ``state.commit``.
        """
        logs = [log for log in values if not log.topic.deleted]
        if not logs:
            return 0
        expected = {key(log.tp): versions[log] for log in logs if log in versions}
        try:
            return await self.state.commit({key(log.tp): values[log] for log in logs}, if_versions=expected)
        finally:
            for log in logs:
                if log.topic.deleted:  # its values may have been removed before this commit
                    self.forget(log.tp)

    def forget(self, tp: TopicPartition) -> None:
        """The log was deleted: remove its values soon."""
        self._gone[tp] = None
        self._removing.due()

    async def _remove(self) -> None:
        while self._gone:
            tps = list(islice(self._gone, REMOVED_AT_ONCE))
            for tp in tps:
                del self._gone[tp]
            try:
                await self.state.commit({key(tp): None for tp in tps for key in self._keys})
            except BaseException:
                self._gone.update(dict.fromkeys(tps))
                raise

    async def finish(self) -> None:
        """The gateway stops: make one more attempt to remove values."""
        await self._removing.finish()


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

    def __init__(self, checkpoints: Checkpoints, background: Background) -> None:
        self._checkpoints = checkpoints
        self._due: dict[SnapshottedLog, None] = {}
        self._saving = anyio.Lock()  # an older snapshot must not be stored after a newer one
        self._chore = background.chore("keeping snapshots of producers", self._save_due)

    async def load(self, tp: TopicPartition, start: int, end: int) -> tuple[Producers, int]:
        """The producers as of an offset within ``start..end``, from which the batches have to be read.

        A snapshot before the start is not used: batches after it have been deleted, and their producers would
        be out of order.
        """
        entry = await self._checkpoints.state.get(key(tp))
        if entry is not None:
            try:
                producers, offset = unpacked(entry.value)
            except ValueError as error:
                logger.warning("%s: its producers are read from all of its records: %s", tp, error)
            else:
                if start <= offset <= end:  # the batches between it and a later start are unknown
                    return producers, offset
        return Producers(), start

    def due(self, log: SnapshottedLog) -> None:
        """Store a snapshot of ``log`` in the background."""
        self._due[log] = None
        self._chore.due()

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

    async def save(self, log: SnapshottedLog) -> None:
        """Store a snapshot of ``log`` now. A failure is retried in the background."""
        try:
            await self._save([log])
        except Exception:  # the next attempt logs it
            self.due(log)

    async def finish(self, logs: Iterable[SnapshottedLog]) -> None:
        """The gateway stops: store snapshots of ``logs`` that have grown enough. A failure is logged."""
        await self._chore.finish()
        worth = [log for log in logs if log.unsaved >= WORTH_BYTES]
        try:
            await self._save(worth)
        except Exception as error:
            logger.warning(
                "%d partition(s) have no new snapshot of their producers, so opening them reads more: %s",
                len(worth),
                brief(error),
            )

    async def _save(self, logs: Iterable[SnapshottedLog]) -> None:
        """Store the snapshots of ``logs`` that can be made. :raises Exception: from the state's commit."""
        async with self._saving:
            values: dict[SnapshottedLog, bytes] = {}
            size = 0
            for log in logs:
                data = await _snapshot(log)
                if data is not None:
                    values[log] = data
                    size += len(data)
                if size >= MAX_BYTES:
                    await self._put(values)
                    values, size = {}, 0
            await self._put(values)

    async def _put(self, values: dict[SnapshottedLog, bytes]) -> None:
        """Store these, except where another gateway has led the log since, and has stored a newer one."""
        try:
            while values:
                versions: dict[SnapshottedLog, int] = {}
                for log, data in list(values.items()):
                    if log.snapshot_version is None:
                        entry = await self._checkpoints.state.get(key(log.tp))
                        if entry is not None and _offset(entry.value) > _offset(data):
                            del values[log]
                            continue
                        log.snapshot_version = entry.version if entry is not None else ABSENT
                    versions[log] = log.snapshot_version
                try:
                    version = await self._checkpoints.put(key, values, versions)
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


async def _snapshot(log: SnapshottedLog) -> bytes | None:
    """The snapshot of the log's producers; None if it has to be postponed, or is too large."""
    log.unsaved = 0
    if log.ready or len(log.producers):  # a closed log has its acknowledged state
        try:
            return await packed(log.producers, log.settled_below)
        except Unsettled:
            pass
    log.unsaved = max(log.unsaved, EVERY_BYTES - RETRY_BYTES)
    return None
