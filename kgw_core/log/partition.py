"""One partition's log: the order of its records, and what may be read of them.

Appends belong to the log, not to the request that brought them. A batch is checked, given its offsets and
its place in its producer's sequence, and stored: at once where the store is immediate, through the queue
and the writers where it has to wait. What a queued batch got is tentative; when its append fails, all that
is queued is answered with a retriable error, the log closes, and its next use reads everything again.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import anyio

from kgw_core import workers
from kgw_core.errors import (
    FencedLeaderEpoch,
    InvalidTxnState,
    KafkaError,
    KafkaStorageError,
    NotLeaderOrFollower,
    OffsetOutOfRange,
    UnknownLeaderEpoch,
    UnknownTopicOrPartition,
)
from kgw_core.log.checks import check_batch
from kgw_core.log.producers import Appended, Producers
from kgw_core.log.rewrite import looked_into, rewritten, takes_long
from kgw_core.log.snapshots import EVERY_BYTES, RETRY_BYTES, Unsettled, packed
from kgw_core.log.waiting import WaitingFetch
from kgw_core.pending import Pending
from kgw_core.records.batch import TRANSACTIONAL, iter_batches
from kgw_core.spi.storage import SCAN_BYTES, Batch, OffsetConflict, Run, TopicPartition
from kgw_core.topics.catalog import TopicState
from kgw_core.wire import Buffer

if TYPE_CHECKING:
    from kgw_core.log.manager import LogManager

logger = logging.getLogger(__name__)

_OFFSET = struct.Struct(">q")
_EPOCH = struct.Struct(">i")
_SEQUENCES = 1 << 31
_new_tuple = tuple.__new__  # a NamedTuple's own constructor is a Python function


QUEUED = 1024
"""Bytes that an append takes while it waits, beside those of its batch."""


class Queued(NamedTuple):
    """A batch on its way into a store that waits, and who waits for it."""

    batch: Batch
    pending: Pending[Appended]
    log_append_time: int
    producer_id: int


class PartitionLog:
    """The log of one partition. Not thread-safe; all of it runs on the event loop.

    ``start`` (log start offset), ``high_watermark``, ``last_stable_offset`` and ``leader_epoch`` mean what
    they mean in Kafka, and are right only while ``ready``.
    """

    __slots__ = (
        "__weakref__",
        "_changing",
        "_deferred",
        "_lock",
        "_looking",
        "_manager",
        "_topic",
        "high_watermark",
        "in_flight",
        "leader_epoch",
        "producers",
        "queue",
        "ready",
        "start",
        "tp",
        "unsaved",
        "waiting",
    )

    def __init__(self, tp: TopicPartition, topic: TopicState[PartitionLog], manager: LogManager) -> None:
        self.tp = tp
        self._topic = topic
        self._manager = manager
        self.ready = False
        self.start = 0
        self.high_watermark = 0
        self.leader_epoch = 0
        self.producers = Producers()
        self.waiting: dict[WaitingFetch, None] = {}
        self.queue: list[Queued] = []
        self.in_flight: list[Queued] = []
        self.unsaved = 0
        """Bytes appended, or read when it was opened, since the last snapshot of the producers."""
        self._deferred: list[tuple[memoryview, Pending[Appended]]] = []
        self._looking = False  # a batch's records, in a thread
        self._lock: anyio.Lock | None = None
        self._changing: anyio.Lock | None = None

    @property
    def topic(self) -> TopicState[PartitionLog]:
        return self._topic

    @property
    def last_stable_offset(self) -> int:
        return self.high_watermark

    # -- opening

    async def open(self) -> None:
        """Make ready: bounds from the store, position from the ledger, producers from the batches' headers.

        :raises KafkaError: the topic is gone, or the store cannot say.
        """
        if self.ready:
            return
        if self._lock is None:
            self._lock = anyio.Lock()
        async with self._lock:
            if self.ready:
                return
            try:
                async with self.changing():  # a trim that is under way would move the start meanwhile
                    await self._open()
            except Exception as error:
                failure = self._explained(error)
                if isinstance(failure, OffsetOutOfRange):  # others have trimmed the store's log meanwhile
                    failure = KafkaStorageError(f"{self.tp} changed while it was opened: {error}")
                deferred, self._deferred = self._deferred, []
                for data, pending in deferred:
                    self._release(data)
                    pending.fail(failure)
                raise failure from error

    async def _open(self) -> None:
        self._check_exists()
        manager = self._manager
        bounds = await manager.store.bounds(self.tp)
        position = await manager.ledger.open(self.tp, bounds)
        producers, offset, size = Producers(), bounds.start, 0
        if manager.snapshots is not None:
            producers, offset = await manager.snapshots.load(self.tp, bounds.start, bounds.end)
        while offset < bounds.end:
            runs = await manager.store.read(self.tp, offset, SCAN_BYTES)
            if not runs:
                break
            for run in runs:
                size += len(run.data)
                for batch in iter_batches(run.data):
                    if batch.producer_id >= 0 and not batch.is_control:
                        producers.put(
                            batch.producer_id,
                            batch.producer_epoch,
                            batch.base_sequence,
                            batch.last_sequence,
                            Appended(batch.base_offset, batch.max_timestamp if batch.log_append_time else -1),
                            batch.max_timestamp,
                        )
            offset = runs[-1].next_offset
        self._check_exists()  # it may have gone meanwhile
        moved = position.committed > self.high_watermark or position.start > self.start
        self.producers = producers
        self.unsaved = size
        self.start = position.start
        self.high_watermark = position.committed
        self.leader_epoch = bounds.epoch
        # From here on nothing waits, so no append can overtake those that came while the log was opening.
        self.ready = True
        deferred, self._deferred = self._deferred, []
        for data, pending in deferred:
            self._release(data)
            self._append_deferred(data, pending)
        if moved:
            self._changed()

    async def _open_for_appends(self) -> None:
        try:
            await self.open()
        except KafkaError as error:
            logger.warning("%s cannot be opened: %s", self.tp, error)

    # -- appending

    def append(self, data: memoryview, stable: bool, looked: bool = False) -> Appended | Pending[Appended]:
        """Append the one batch that ``data`` is; its bytes are written to (offset, leader epoch).

        ``stable``: the bytes stay as they are after the call, and may be kept. ``looked``: the records of the
        batch need not be looked at any more.

        :raises KafkaError: the batch is refused, each refusal with Kafka's code. A Pending fails with what
            went wrong in the store.
        """
        if not self.ready or self._looking:
            return self._append_later(data, stable)
        manager = self._manager
        configs = self._topic.configs
        now = manager.clock.time_ms()
        header = check_batch(data, configs, now)
        attributes = header[5]
        if attributes & TRANSACTIONAL:
            raise InvalidTxnState("transactions are not supported: no transaction is open on this partition")
        producer_id = header[9]
        first = last = -1
        if producer_id >= 0:
            first = header[11]
            last = (first + header[6]) % _SEQUENCES
            outcome = self.producers.find(producer_id, header[10], first, last)
            if outcome is not None:
                return outcome  # type: ignore[return-value] # what put() was given below
        max_timestamp = header[8]
        log_append_time = -1
        if configs.rewrites or configs.compact:
            if not looked and takes_long(data, configs):
                return self._look_first(data, stable)
            data, max_timestamp, log_append_time, stable = rewritten(
                data, configs, now, stable, manager.max_inflated, looked
            )
        span = header[6] + 1
        if not manager.immediate:
            pending = self._enqueue(data, span, max_timestamp, log_append_time, stable, producer_id)
            if producer_id >= 0:
                self.producers.put(producer_id, header[10], first, last, pending, now)
            return pending
        base = manager.ledger.reserve(self.tp, span)
        _OFFSET.pack_into(data, 0, base)
        _EPOCH.pack_into(data, 12, self.leader_epoch)
        try:
            batch: Batch = _new_tuple(Batch, (base, span, max_timestamp, data, stable))
            manager.store.append_now(self.tp, (batch,))
            self.high_watermark = manager.ledger.committed(self.tp, base + span)
        except Exception as error:
            raise self._failed(error, base) from error
        appended: Appended = _new_tuple(Appended, (base, log_append_time))
        if producer_id >= 0:
            self.producers.put(producer_id, header[10], first, last, appended, now)
        if self.waiting:
            self._wake(len(data))
        return appended

    def _look_first(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """Look at the records in a thread; what comes to this log meanwhile waits behind it."""
        self._check_room()
        if not stable:
            data = memoryview(bytearray(data))
        pending: Pending[Appended] = Pending()
        self._looking = True
        self._manager.budget.take(len(data) + QUEUED)
        self._manager.spawn(self._look(data, pending))
        return pending

    async def _look(self, data: memoryview, pending: Pending[Appended]) -> None:
        manager = self._manager
        try:
            found: memoryview | Exception = await workers.in_thread(
                looked_into, data, self._topic.configs, manager.max_inflated
            )
        except Exception as error:
            found = error.with_traceback(None) if isinstance(error, KafkaError) else error
        finally:
            self._looking = False
            self._release(data)
        deferred, self._deferred = self._deferred, []
        if isinstance(found, Exception):
            pending.fail(found)
        else:
            self._append_deferred(found, pending, looked=True)
        for data, waiting in deferred:
            self._release(data)
            self._append_deferred(data, waiting)

    def _append_deferred(self, data: memoryview, pending: Pending[Appended], *, looked: bool = False) -> None:
        """Append what had to wait; ``pending`` gets what comes of it."""
        try:
            outcome = self.append(data, stable=True, looked=looked)
        except Exception as error:
            pending.fail(error)
        else:
            if isinstance(outcome, Pending):
                outcome.then(_forward_to(pending))
            else:
                pending.resolve(outcome)

    def _append_later(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """When the log is open, and what came before has been looked into."""
        self._check_exists()
        self._check_room()
        if not stable:
            data = memoryview(bytearray(data))
        pending: Pending[Appended] = Pending()
        self._deferred.append((data, pending))
        self._manager.budget.take(len(data) + QUEUED)
        if len(self._deferred) == 1 and not self._looking:
            self._manager.spawn(self._open_for_appends())
        return pending

    def _enqueue(
        self,
        data: memoryview,
        span: int,
        max_timestamp: int,
        log_append_time: int,
        stable: bool,
        producer_id: int,
    ) -> Pending[Appended]:
        manager = self._manager
        self._check_room()
        if not stable:
            data = memoryview(bytearray(data))
        base = -1 if manager.numbers_records else manager.ledger.reserve(self.tp, span)
        _OFFSET.pack_into(data, 0, base)
        _EPOCH.pack_into(data, 12, self.leader_epoch)
        pending: Pending[Appended] = Pending()
        batch = Batch(base, span, max_timestamp, data, True)
        self.queue.append(Queued(batch, pending, log_append_time, producer_id))
        manager.budget.take(len(data) + QUEUED)
        manager.writers.submit(self)
        return pending

    def _check_room(self) -> None:
        """:raises KafkaStorageError: so much waits for the storage that no more can be kept."""
        budget = self._manager.budget
        if budget.exhausted:
            raise KafkaStorageError(
                f"{self.tp}: not taken, as requests and appends that wait for the storage take {budget.used} "
                f"bytes, more than {budget.limit} (limits.max_total_in_flight_bytes)"
            )

    def _release(self, data: Buffer) -> None:
        """The batch waits no more."""
        self._manager.budget.give(len(data) + QUEUED)

    def settle(self, outcome: int | Exception) -> None:
        """What the store said of the append of ``in_flight``: its base offset, or why not."""
        written, self.in_flight = self.in_flight, []
        for item in written:
            self._release(item.batch.data)
        if isinstance(outcome, int):
            end = outcome + sum(item.batch.span for item in written)
            try:
                self.high_watermark = self._manager.ledger.committed(self.tp, end)
            except Exception as error:
                outcome = error
        if not isinstance(outcome, int):
            failure = self._failed(outcome, written[0].batch.base_offset)
            if failure is not outcome:
                failure.__cause__ = outcome
            if len(written) > 1:
                failure = self._retriable(failure)  # which of them the store does not like is not known
            for item in written:
                item.pending.fail(failure)
            return
        offset = outcome
        size = 0
        settled: list[tuple[Queued, Appended]] = []
        for item in written:
            appended = Appended(offset, item.log_append_time)
            settled.append((item, appended))
            if item.producer_id >= 0:
                self.producers.settle(item.producer_id, item.pending, appended)
            offset += item.batch.span
            size += len(item.batch.data)
        manager = self._manager
        if manager.tails is not None and not self._topic.deleted:
            manager.tails.append(self.tp, outcome, [item.batch for item in written])
        for item, appended in settled:
            item.pending.resolve(appended)
        if self.waiting:
            self._wake(size)
        self.unsaved += size
        if self.unsaved >= EVERY_BYTES and manager.snapshots is not None:
            self.unsaved = 0
            manager.snapshot(self)

    async def snapshot(self) -> bytes | None:
        """What is known of the producers, to be kept; None where that has to be put off, or is too much."""
        self.unsaved = 0
        if self.ready:
            try:
                return await packed(self.producers, self.high_watermark)
            except Unsettled:
                pass
        self.unsaved = max(self.unsaved, EVERY_BYTES - RETRY_BYTES)
        return None

    def _failed(self, error: Exception, base: int) -> KafkaError:
        """An append failed: void all that is tentative, close; return what to tell those who wait."""
        failure = self._explained(error)
        self.ready = False
        self.producers = Producers()
        if self._manager.tails is not None:
            self._manager.tails.drop(self.tp)
        if base >= 0:
            self._manager.ledger.released(self.tp, base)
        queue, self.queue = self.queue, []
        if queue:
            retriable = self._retriable(failure)
            for item in queue:
                self._release(item.batch.data)
                item.pending.fail(retriable)
        return failure

    def _retriable(self, failure: KafkaError) -> KafkaError:
        """What batches are told that are refused only because they stood beside another one."""
        if failure.retriable:
            return failure
        return KafkaStorageError(f"{self.tp}: another append failed: {failure}")

    def _explained(self, error: Exception) -> KafkaError:
        if isinstance(error, KafkaError):
            return error
        if isinstance(error, OffsetConflict):
            logger.warning("%s: %s; somebody else leads it", self.tp, error)
            return NotLeaderOrFollower(f"{self.tp}: {error}")
        logger.error("storage failed on %s: %r", self.tp, error, exc_info=error)
        return KafkaStorageError(f"storage failed on {self.tp}: {error}")

    def _changed(self) -> None:
        """The log is other than waiting fetches know it: they read again."""
        for fetch in list(self.waiting):
            self._manager.wakes.add(fetch)

    def _wake(self, size: int) -> None:
        for fetch in list(self.waiting):
            fetch.appended(size)

    # -- reading

    def check_epoch(self, current_leader_epoch: int) -> None:
        """Compare the leader epoch that a client has (-1: none) with the log's (KIP-320).

        :raises FencedLeaderEpoch: the client's is older. :raises UnknownLeaderEpoch: it is newer.
        """
        if current_leader_epoch not in (-1, self.leader_epoch):
            if current_leader_epoch < self.leader_epoch:
                raise FencedLeaderEpoch(f"leader epoch is {self.leader_epoch}, not {current_leader_epoch}")
            raise UnknownLeaderEpoch(f"leader epoch is {self.leader_epoch}, not yet {current_leader_epoch}")

    def read_now(self, offset: int, max_bytes: int) -> Sequence[Run] | None:
        """Runs from ``offset``, at least one batch if there is one; for ready logs only. None where the store
        has to be waited for: :meth:`read`.

        :raises OffsetOutOfRange: below the log start offset or above the high watermark.
        :raises UnknownTopicOrPartition: the topic was deleted.
        """
        if not self.start <= offset < self.high_watermark:
            self._check_offset(offset)
            return ()
        manager = self._manager
        if not manager.immediate:
            runs = manager.tails.read(self.tp, offset, max_bytes) if manager.tails is not None else None
            return self._committed(runs) if runs is not None else None
        try:
            return manager.store.read_now(self.tp, offset, max_bytes)
        except Exception as error:
            raise self._explained(error) from error

    async def read(self, offset: int, max_bytes: int) -> Sequence[Run]:
        """:meth:`read_now`, waited for; opens the log where it is not ready."""
        await self.open()
        there = self.read_now(offset, max_bytes)
        if there is not None:
            return there
        try:
            runs = await self._manager.store.read(self.tp, offset, max_bytes)
        except Exception as error:
            raise self._explained(error) from error
        return self._committed(runs)

    def _committed(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Without the batches that the store holds already but has not acknowledged yet."""
        high_watermark = self.high_watermark
        if not runs or runs[-1].next_offset <= high_watermark:
            return runs
        kept: list[Run] = []
        for run in runs:
            if run.next_offset <= high_watermark:
                kept.append(run)
                continue
            size, next_offset = 0, run.base_offset
            for batch in iter_batches(run.data):
                if batch.next_offset > high_watermark:
                    break
                size += batch.size
                next_offset = batch.next_offset
            if size:
                kept.append(Run(run.base_offset, next_offset, memoryview(run.data)[:size]))
            break
        return kept

    def _check_offset(self, offset: int) -> None:
        self._check_exists()
        if offset < self.start or offset > self.high_watermark:
            raise OffsetOutOfRange(
                f"offset {offset} of {self.tp} is not within {self.start} to {self.high_watermark}"
            )

    async def find_time(self, timestamp: int) -> int | None:
        """Base offset of the first batch with a record at or after ``timestamp`` (ms), or None."""
        try:
            base = await self._manager.ledger.find_time(self.tp, timestamp)
            return base if base is not None else await self._manager.store.find_time(self.tp, timestamp)
        except Exception as error:
            raise self._explained(error) from error

    async def find_max_time(self) -> int | None:
        """Base offset of the first batch that has the largest max timestamp, None for an empty log."""
        try:
            return await self._manager.store.find_max_time(self.tp)
        except Exception as error:
            raise self._explained(error) from error

    async def trim(self, before: int) -> int:
        """Raise the log start offset to ``before`` (-1: the high watermark); return the log start offset.

        :raises OffsetOutOfRange: above the high watermark.
        """
        await self.open()
        if before == -1:
            before = self.high_watermark
        if before > self.high_watermark or before < 0:
            raise OffsetOutOfRange(f"cannot delete up to {before}, high watermark is {self.high_watermark}")
        if before > self.start:
            try:
                async with self.changing():
                    await self._manager.store.trim(self.tp, before)
            except Exception as error:
                raise self._explained(error) from error
            if before > self.start:  # another trim may have gone further meanwhile
                self.start = before
                self._manager.ledger.trimmed(self.tp, before)
                if self._manager.tails is not None:
                    self._manager.tails.drop(self.tp, before)
                self._changed()
        return self.start

    def changing(self) -> anyio.Lock:
        """Held while the store takes something away: a trim and a replacement never overlap, and the log is
        not opened meanwhile."""
        if self._changing is None:
            self._changing = anyio.Lock()
        return self._changing

    def replaced(self, first: int, end: int) -> None:
        """Compaction has put other batches in place of those from ``first`` up to ``end``."""
        if self._manager.tails is not None:
            self._manager.tails.drop(self.tp, end)

    # -- the end

    def _check_exists(self) -> None:
        if self._topic.deleted:
            raise UnknownTopicOrPartition(f"topic {self.tp.topic} was deleted")

    def deleted(self) -> None:
        """The topic is gone: who waits is told at once."""
        self._failed(UnknownTopicOrPartition(f"topic {self.tp.topic} was deleted"), -1)
        self._manager.ledger.closed(self.tp)
        self._manager.forget(self)
        self._changed()


def _forward_to(pending: Pending[Appended]) -> Callable[[Pending[Appended]], None]:
    def forward(source: Pending[Appended]) -> None:
        try:
            pending.resolve(source.result())
        except Exception as error:
            pending.fail(error)

    return forward
