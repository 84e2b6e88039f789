"""The default StateStore: keys and values in memory, and every commit in an internal log of the LogStore.

Rules:

1. The log is the only partition of the topic :data:`TOPIC`, which the catalog hides from clients. A commit is
   one append, and appends are atomic. The key of a record is the state's key; its value is the version of the
   commit, put or delete, and the state's value. Replaying the log from its start gives the table.
2. *Snapshot and trim*: when the log is several times larger than its live entries, the next appends also
   carry a snapshot, piece by piece: all entries with their versions. When every entry has been carried, the
   log is trimmed to the first piece. An append carries entries as they are at that time, so a crash at any
   point leaves a log that replays to the same table.
3. If the outcome of an append is unknown, the log is read from its last known end. Until that succeeds no
   commit is written or answered.
4. One gateway writes. Records of another writer are applied, and the commit that found them fails with
   NOT_COORDINATOR.
"""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import AsyncIterator
from uuid import uuid4

import anyio
import anyio.lowlevel

from kgw_core.errors import KafkaError, KafkaStorageError, NotCoordinator, TopicAlreadyExists
from kgw_core.records import build_batch, iter_batches, iter_records
from kgw_core.spi.context import PluginContext
from kgw_core.spi.state import NO_VERSIONS, Changes, Entry, StateCapabilities, StateStore, Versions
from kgw_core.spi.storage import SCAN_BYTES, Batch, LogStore, OffsetConflict, Topic, TopicPartition
from kgw_core.state.memory import Table
from kgw_core.topics.names import STATE_TOPIC

logger = logging.getLogger(__name__)

TOPIC = STATE_TOPIC
CONFIGS = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}

_HEAD = struct.Struct(">qB")
_DELETE, _PUT = 0, 1
_COUNTER = b""
"""The key of a record that has only the last version, so that no version is used twice."""

SNAPSHOT_BYTES = 4 << 20
"""The smallest log that is snapshotted."""

GROWTH = 3
"""A snapshot begins when the log is this many times larger than its live entries."""

PIECE_BYTES = 64 << 10
"""About how many bytes of a snapshot one append carries."""

_RECORD_BYTES = 32
"""About how many bytes the log adds to a key and value."""


class LogStateStore(StateStore):
    """See the module's docstring. ``snapshot_bytes`` is the smallest log that is snapshotted.

    ``store`` is opened before and closed after this, and gives the state its durability.
    """

    name = "log"

    def __init__(
        self, store: LogStore, *, snapshot_bytes: int = SNAPSHOT_BYTES, piece_bytes: int = PIECE_BYTES
    ) -> None:
        super().__init__()
        self._store = store
        self._snapshot_bytes = snapshot_bytes
        self._piece_bytes = piece_bytes
        self._tp: TopicPartition = None  # type: ignore[assignment] # set when opened
        self._numbers_records = False
        self._epoch = 0
        self._table = Table()
        self._end = 0  # the table has the log up to here
        self._certain = False  # whether the log ends there
        self._log_bytes = 0
        self._live_bytes = 0  # the approximate bytes of the live entries
        self._carry: _Carry | None = None
        self._lock = anyio.Lock()

    def capabilities(self) -> StateCapabilities:
        return StateCapabilities(durable=self._store.capabilities().durable)

    async def open(self, context: PluginContext | None = None) -> None:
        """Create the topic if there is none, and read the log."""
        topic = await self._topic()
        if topic is None:
            with contextlib.suppress(
                TopicAlreadyExists
            ):  # another gateway that starts at the same time was faster
                await self._store.create_topic(Topic(TOPIC, uuid4(), 1, CONFIGS))
            topic = await self._topic()
            if topic is None:
                raise KafkaStorageError(f"topic {TOPIC} was created and is missing")
        self._tp = TopicPartition(TOPIC, topic.id, 0)
        self._numbers_records = self._store.capabilities(topic).numbers_records
        self._epoch = self._store.leader_epoch(self._tp)
        self._end = (await self._store.bounds(self._tp)).start
        await self._catch_up()

    async def _topic(self) -> Topic | None:
        return next((topic for topic in await self._store.topics() if topic.name == TOPIC), None)

    # -- reading

    async def get(self, key: bytes) -> Entry | None:
        if not self._certain:
            await self._resolve()
        return self._table.get(key)

    async def scan(self, prefix: bytes) -> AsyncIterator[Entry]:
        if not self._certain:
            await self._resolve()
        async for entry in self._table.scan(prefix):
            yield entry

    async def _resolve(self) -> None:
        async with self._lock:
            if not self._certain:
                await self._catch_up()

    async def _catch_up(self) -> bool:
        """Apply the records after the known end. Return whether there were any.

        :raises KafkaStorageError: the log cannot be read.
        """
        try:
            bounds = await self._store.bounds(self._tp)
            began = self._end
            while self._end < bounds.end:
                runs = await self._store.read(self._tp, self._end, SCAN_BYTES)
                if not runs:
                    raise RuntimeError(f"it ends at {bounds.end}, but there is nothing at offset {self._end}")
                for run in runs:
                    self._log_bytes += len(run.data)
                    for batch in iter_batches(run.data):
                        for record in iter_records(batch):
                            self._replay(record.key or b"", record.value or b"")
                        await anyio.lowlevel.checkpoint()
                self._end = runs[-1].next_offset
        except Exception as error:
            self._certain = False
            raise KafkaStorageError(f"the state log cannot be read: {error}") from error
        self._end = max(self._end, bounds.end)
        self._certain = True
        return self._end > began

    def _replay(self, key: bytes, value: bytes) -> None:
        version, kind = _HEAD.unpack_from(value)
        if key == _COUNTER:
            self._table.version = max(self._table.version, version)
        else:
            self._put(key, value[_HEAD.size :] if kind == _PUT else None, version)

    def _put(self, key: bytes, value: bytes | None, version: int) -> None:
        before = self._table.entries.get(key)
        if before is not None:
            self._live_bytes -= _size(key, before[0])
        if value is not None:
            self._live_bytes += _size(key, value)
        self._table.put(key, value, version)

    # -- writing

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        async with self._lock:
            with anyio.CancelScope(shield=True):  # an append that has begun is completed
                if not self._certain:
                    await self._catch_up()
                self._table.check(if_versions)
                if changes:
                    await self._write(changes, self._table.version + 1)
            return self._table.version

    async def _write(self, changes: Changes, version: int) -> None:
        records = [_record(key, value, version) for key, value in changes.items()]
        carry = self._next_piece(changes)
        numbers = self._numbers_records
        data = build_batch(records + carry, base_offset=0 if numbers else self._end, leader_epoch=0)
        batch = Batch(-1 if numbers else self._end, len(records) + len(carry), -1, data, True)
        try:
            [base] = await self._store.append(self._tp, [batch], self._epoch)
        except Exception as error:
            self._carry = None  # a piece may be missing: begin the snapshot again later
            await self._after_failure(error, version)
            return
        self._end = base + batch.span
        self._log_bytes += len(data)
        for key, value in changes.items():
            self._put(key, value, version)
        await self._trim_if_carried()

    async def _after_failure(self, error: Exception, version: int) -> None:
        """Return if the append was done after all; else raise the error for the caller."""
        if isinstance(error, KafkaError):
            raise error
        conflict = isinstance(error, OffsetConflict)
        logger.warning("an append to the state log failed: %r; reading where it ends", error)
        self._certain = False
        try:
            moved = await self._catch_up()
        except KafkaStorageError:
            raise error from None  # the outcome is unknown
        if conflict:
            raise NotCoordinator(f"somebody else writes {TOPIC}: {error}") from error
        if not (moved and self._table.version >= version):
            raise KafkaStorageError(f"storage failed on {TOPIC}: {error}") from error

    # -- snapshot and trim

    def _next_piece(self, changes: Changes) -> list[tuple[bytes, bytes]]:
        """The records of the snapshot to append with ``changes``. Begins a snapshot if the log is large
        enough."""
        if self._carry is None:
            if self._log_bytes < max(self._snapshot_bytes, GROWTH * self._live_bytes):
                return []
            self._carry = _Carry(list(self._table.entries), self._end, self._log_bytes)
        carry, entries = self._carry, self._table.entries
        piece = [_record(_COUNTER, b"", self._table.version)]
        size = 0
        while carry.at < len(carry.keys) and size < self._piece_bytes:
            key = carry.keys[carry.at]
            carry.at += 1
            entry = entries.get(key)
            if entry is not None and key not in changes:
                piece.append(_record(key, *entry))
                size += _size(key, entry[0])
        return piece

    async def _trim_if_carried(self) -> None:
        carry = self._carry
        if carry is None or carry.at < len(carry.keys):
            return
        self._carry = None
        self._log_bytes -= carry.log_bytes
        try:
            await self._store.trim(self._tp, carry.start, self._epoch)
        except Exception as error:  # no data is lost; the next snapshot trims the log
            logger.warning("the state log cannot be trimmed: %r", error)


class _Carry:
    """A snapshot in progress: its keys, how many are carried, and the log's end and size when it began."""

    __slots__ = ("at", "keys", "log_bytes", "start")

    def __init__(self, keys: list[bytes], start: int, log_bytes: int) -> None:
        self.keys = keys
        self.at = 0
        self.start = start
        self.log_bytes = log_bytes


def _record(key: bytes, value: bytes | None, version: int) -> tuple[bytes, bytes]:
    if value is None:
        return key, _HEAD.pack(version, _DELETE)
    return key, _HEAD.pack(version, _PUT) + value


def _size(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + _RECORD_BYTES
