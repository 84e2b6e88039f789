"""One partition's log: the order of its records, from an append to what the store has made of it.

Appends belong to the log, not to the request that brought them. A batch is checked, given its offsets and its
place in its producer's sequence, and stored: at once where the store is immediate, through the queue
(:mod:`kgw_core.log.queue`) and the writers where it has to wait. Where the log cannot take it yet, it waits
for that first (:mod:`kgw_core.log.deferred`). What a queued batch got is tentative; when its append fails,
all that is queued is answered with a retriable error, the log closes, and its next use reads everything
again.
"""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING

import anyio

from kgw_core import workers
from kgw_core.errors import (
    InvalidTxnState,
    KafkaError,
    KafkaStorageError,
    OffsetOutOfRange,
    UnknownTopicOrPartition,
)
from kgw_core.log import snapshots
from kgw_core.log.checks import check_batch
from kgw_core.log.deferred import Deferred, Outcome, attempted
from kgw_core.log.failures import explained, retriable
from kgw_core.log.opening import Opened, opened
from kgw_core.log.producers import Appended, Producers
from kgw_core.log.queue import AppendQueue, Flight
from kgw_core.log.reading import ReadableLog
from kgw_core.log.rewrite import looked_into, rewritten, takes_long
from kgw_core.log.room import check_room, give_room, take_room
from kgw_core.pending import Pending
from kgw_core.records.batch import TRANSACTIONAL
from kgw_core.spi.storage import Batch, TopicPartition
from kgw_core.topics.catalog import TopicState

if TYPE_CHECKING:
    from kgw_core.log.manager import LogManager

logger = logging.getLogger(__name__)

_OFFSET = struct.Struct(">q")
_EPOCH = struct.Struct(">i")
_SEQUENCES = 1 << 31
_new_tuple = tuple.__new__  # a NamedTuple's own constructor is a Python function


class PartitionLog(ReadableLog):
    """The log of one partition. Not thread-safe; all of it runs on the event loop."""

    __slots__ = ("__weakref__", "_deferred", "_opening", "producers", "queue", "unsaved")

    def __init__(self, tp: TopicPartition, topic: TopicState[PartitionLog], manager: LogManager) -> None:
        super().__init__(tp, topic, manager)
        self.producers = Producers()
        self.queue = AppendQueue(manager)
        self.unsaved = 0
        """Bytes appended, or read when it was opened, since the last snapshot of the producers."""
        self._deferred: Deferred | None = None  # there while anything has to wait
        self._opening: anyio.Lock | None = None

    # -- opening

    async def open(self) -> None:
        """Make ready: bounds from the store, position from the ledger, producers from the batches' headers.

        :raises KafkaError: the topic is gone, or the store cannot say.
        """
        if self.ready:
            return
        if self._opening is None:
            self._opening = anyio.Lock()
        async with self._opening:
            if self.ready:
                return
            try:
                async with self.changing():  # a trim that is under way would move the start meanwhile
                    self._check_exists()
                    manager = self._manager
                    found = await opened(self.tp, manager.store, manager.ledger, manager.snapshots)
                    self._check_exists()  # it may have gone meanwhile
                    self._begin(found)
            except Exception as error:
                failure = explained(error, self.tp)
                if isinstance(failure, OffsetOutOfRange):  # others have trimmed the store's log meanwhile
                    failure = KafkaStorageError(f"{self.tp} changed while it was opened: {error}")
                deferred = self._deferred
                if deferred is not None:
                    if not deferred.looking:
                        self._deferred = None
                    deferred.fail(failure)
                raise failure from error

    def _begin(self, found: Opened) -> None:
        moved = found.high_watermark > self.high_watermark or found.start > self.start
        self.start, self.high_watermark, self.leader_epoch, self.producers, self.unsaved = found
        # From here on nothing waits, so no append can overtake those that came while the log was opening.
        self.ready = True
        deferred = self._deferred
        if deferred is not None and not deferred.looking:
            self._deferred = None
            deferred.append_all(self.append)
        if moved:
            self.waiting.changed()

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
        if not self.ready or self._deferred:
            return self._defer(data, stable)
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
            self.waiting.appended(len(data))
        return appended

    def _defer(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """Append it when the log is open, and what came before it has been looked into."""
        self._check_exists()
        manager = self._manager
        check_room(manager.budget, self.tp)
        if self._deferred is None:
            self._deferred = Deferred(manager.budget, looking=False)
            manager.spawn(self._open_for_appends())
        return self._deferred.add(data, stable)

    def _look_first(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """Look at the records in a thread; what comes to this log meanwhile waits behind it."""
        manager = self._manager
        check_room(manager.budget, self.tp)
        if not stable:
            data = memoryview(bytearray(data))
        pending: Pending[Appended] = Pending()
        self._deferred = Deferred(manager.budget, looking=True)
        take_room(manager.budget, data)
        manager.spawn(self._look(data, pending, self._deferred))
        return pending

    async def _look(self, data: memoryview, pending: Pending[Appended], behind: Deferred) -> None:
        manager = self._manager
        found: Outcome | memoryview
        try:
            found = await workers.in_thread(looked_into, data, self._topic.configs, manager.max_inflated)
        except Exception as error:
            found = error.with_traceback(None) if isinstance(error, KafkaError) else error
        finally:
            self._deferred = None
            give_room(manager.budget, data)
        if isinstance(found, memoryview):
            found = attempted(self.append, found, looked=True)
        behind.append_all(self.append, first=(pending, found))

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
        check_room(manager.budget, self.tp)
        if not stable:
            data = memoryview(bytearray(data))
        base = -1 if manager.numbers_records else manager.ledger.reserve(self.tp, span)
        _OFFSET.pack_into(data, 0, base)
        _EPOCH.pack_into(data, 12, self.leader_epoch)
        batch = Batch(base, span, max_timestamp, data, True)
        pending = self.queue.put(batch, log_append_time, producer_id)
        manager.writers.submit(self)
        return pending

    def settle(self, outcome: int | Exception) -> None:
        """What the store said of what is in flight: its base offset, or why not."""
        manager = self._manager
        written = self.queue.landed()
        if isinstance(outcome, int):
            try:
                self.high_watermark = manager.ledger.committed(self.tp, outcome + written.span)
            except Exception as error:
                outcome = error
        if not isinstance(outcome, int):
            self._not_stored(written, outcome)
            return
        appended = written.placed(outcome, self.producers)
        if manager.tails is not None and not self._topic.deleted:
            manager.tails.append(self.tp, outcome, written.batches)
        written.resolve(appended)
        if self.waiting:
            self.waiting.appended(written.size)
        self.unsaved += written.size
        if self.unsaved >= snapshots.EVERY_BYTES and manager.snapshots is not None:
            self.unsaved = 0
            manager.snapshot(self)

    def _not_stored(self, written: Flight, error: Exception) -> None:
        failure = self._failed(error, written.batches[0].base_offset)
        if failure is not error:
            failure.__cause__ = error
        if len(written.batches) > 1:
            failure = retriable(failure, self.tp)  # which of them the store does not like is not known
        written.fail(failure)

    def _failed(self, error: Exception, base: int) -> KafkaError:
        """An append failed: void all that is tentative, close; return what to tell those who wait."""
        failure = explained(error, self.tp)
        self.ready = False
        self.producers = Producers()
        if self._manager.tails is not None:
            self._manager.tails.drop(self.tp)
        if base >= 0:
            self._manager.ledger.released(self.tp, base)
        self.queue.fail(retriable(failure, self.tp))
        return failure

    # -- the end

    def deleted(self) -> None:
        """The topic is gone: who waits is told at once."""
        self._failed(UnknownTopicOrPartition(f"topic {self.tp.topic} was deleted"), -1)
        self._manager.ledger.closed(self.tp)
        self._manager.forget(self)
        self.waiting.changed()
