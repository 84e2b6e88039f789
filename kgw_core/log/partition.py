"""One partition's log: the order of its records, from an append to what the store has made of it.

Appends belong to the log, not to the request that brought them. A batch is checked, given its offsets and its
place in its producer's sequence, and stored: at once where the store is immediate, through the queue
(:mod:`kgw_core.log.queue`) and the writers where it has to wait. Where the log cannot take it yet, it waits
for that first (:mod:`kgw_core.log.deferred`). What a queued batch got is tentative. When its append has
certainly failed, all that is queued is answered with a retriable error, the log closes, and its next use
reads everything again. While the outcome is not known (:mod:`kgw_core.log.resolving`), nobody is answered,
and what comes is queued behind.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any

from kgw_core import workers
from kgw_core.errors import (
    CorruptMessage,
    InvalidTxnState,
    KafkaError,
    KafkaStorageError,
    NotLeaderOrFollower,
    OffsetOutOfRange,
    UnknownTopicOrPartition,
)
from kgw_core.log import snapshots
from kgw_core.log.checks import Header, check_batch
from kgw_core.log.deferred import Deferred, Outcome, attempted, fail
from kgw_core.log.failures import explained, is_certain, retriable
from kgw_core.log.looking import TakesLong, look, looked_into
from kgw_core.log.opening import Opened, opened, take_over
from kgw_core.log.producers import Appended, Producers
from kgw_core.log.queue import AppendQueue, Flight
from kgw_core.log.reading import ReadableLog
from kgw_core.log.resolving import until_known
from kgw_core.log.room import check_room, give_room, take_room
from kgw_core.log.waiting import tell_appended, tell_changed
from kgw_core.pending import Pending
from kgw_core.records.batch import HEADER, TRANSACTIONAL, set_log_append_time
from kgw_core.spi.ledger import NotLeader
from kgw_core.spi.storage import Batch, Buffer, Fenced, OffsetConflict, TopicPartition
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

    __slots__ = (
        "_committed",
        "_deferred",
        "_grown",
        "_immediate",
        "_lost",
        "producers",
        "queue",
        "snapshot_offset",
        "unsaved",
    )

    def __init__(self, tp: TopicPartition, topic: TopicState[PartitionLog], manager: LogManager) -> None:
        super().__init__(tp, topic, manager)
        self.producers = Producers()
        self.queue = AppendQueue(manager)
        self.unsaved = 0
        """Bytes appended, or read when it was opened, since the last snapshot of the producers."""
        self.snapshot_offset = -1
        """Of the last snapshot of the producers that was kept since the log was made."""
        self._immediate = self.kind.immediate  # off while an append's outcome is not known
        self._lost = False  # while it is opened: another gateway has become its leader meanwhile
        self._grown = self._committed = 0  # the furthest that store and ledger have told while it was closed
        self._deferred: Deferred | None = None  # there while anything has to wait

    # -- opening

    async def open(self) -> None:
        """Make ready: bounds from the store, position from the ledger, producers from the batches' headers.

        :raises NotLeaderOrFollower: another gateway leads it.
        :raises KafkaError: the topic is gone, or the store cannot say.
        """
        if self.ready:
            return
        async with self._manager.opening.of(self.tp):
            if self.ready:
                return
            try:
                self._check_exists()
                await self.queue.idle()  # what is in flight of an earlier leadership may still be stored
                self._lost = False
                async with self.changing():  # a trim that is under way would move the start meanwhile
                    self._check_exists()
                    manager = self._manager
                    found = await opened(
                        self.tp,
                        manager.store,
                        manager.ledger,
                        manager.snapshots,
                        manager.clock.time_ms(),
                        manager.producer_expiration_ms,
                    )
                    await take_over(found.producers, self.producers)
                    self._check_exists()  # it may have gone meanwhile
                    if self._lost:
                        raise NotLeaderOrFollower(f"{self.tp} was lost to another gateway")
                    self._begin(found)
            except Exception as error:
                failure = explained(error, self.tp)
                if isinstance(failure, OffsetOutOfRange):  # others have trimmed the store's log meanwhile
                    failure = KafkaStorageError(f"{self.tp} changed while it was opened: {error}")
                if self._deferred is not None:
                    self._fail_deferred(self._deferred, failure)
                raise failure from error

    def _fail_deferred(self, deferred: Deferred, failure: KafkaError) -> None:
        """The log does not open: tell those who wait for it."""
        if not deferred.looking:
            self._deferred = None
        waited = deferred.take()
        if failure.retriable:
            self._refused(data for data, _ in waited)
        fail(waited, failure)

    def _begin(self, found: Opened) -> None:
        moved = found.high_watermark > self.high_watermark or found.start > self.start
        self.start, self.high_watermark, self.leader_epoch, self.producers, self.unsaved = found
        # From here on nothing waits, so no append can overtake those that came while the log was opening.
        self.ready = True
        self.grown(self._grown)
        self.raise_high_watermark(self._committed)
        deferred = self._deferred
        if deferred is not None and not deferred.looking:
            self._deferred = None
            deferred.append_all(self.append, self._refused, lambda: self._deferred)
        if moved:
            tell_changed(self.waiting)

    # -- appending

    def append(self, data: memoryview, stable: bool, looked: bool = False) -> Appended | Pending[Appended]:
        """Append the one batch that ``data`` is; its bytes are written to (offset, leader epoch).

        ``stable``: the bytes stay as they are after the call, and may be kept. ``looked``: the records of the
        batch need not be looked at any more.

        :raises KafkaError: the batch is refused, each refusal with Kafka's code. A Pending fails with what
            went wrong in the store.
        """
        manager = self._manager
        try:
            if not self.ready or self._deferred:
                return self._defer(data, stable)
            configs = self._topic.configs
            now = manager.clock.time_ms()
            header: Header = HEADER.unpack_from(data) if looked else check_batch(data, configs)
            attributes = header[5]
            if attributes & TRANSACTIONAL:
                raise InvalidTxnState(
                    "transactions are not supported: no transaction is open on this partition"
                )
            producer_id = header[9]
            first = last = -1
            if producer_id >= 0:
                first = header[11]
                last = (first + header[6]) % _SEQUENCES
                outcome = self.producers.find(producer_id, header[10], first, last)
                if outcome is not None:
                    return outcome  # type: ignore[return-value] # what put() was given below
                if manager.refused.active and self.producers.get(producer_id) is None:
                    manager.refused.check(self.tp, producer_id, header[10], first)
            max_timestamp = header[8]
            log_append_time = -1
            if not looked:
                try:
                    found, max_timestamp = look(
                        data, header, configs, now, manager.check_records, manager.max_inflated, True
                    )
                except TakesLong:
                    return self._look_first(data, stable)
                if found is not data:
                    data, stable = found, True
            if configs.log_append_time:
                set_log_append_time(data, now)
                log_append_time = max_timestamp = now
            span = header[6] + 1
            result: Appended | Pending[Appended]
            if self._immediate:
                base = manager.ledger.reserve(self.tp, span)
                _OFFSET.pack_into(data, 0, base)
                _EPOCH.pack_into(data, 12, self.leader_epoch)
                batch: Batch = _new_tuple(Batch, (base, span, max_timestamp, data, stable, now))
                try:
                    manager.store.append_now(self.tp, (batch,), self.leader_epoch)
                    self.high_watermark = manager.ledger.committed(self.tp, base + span)
                except Exception as error:
                    result = self._failed_at_once(error, batch, log_append_time, producer_id)
                else:
                    result = _new_tuple(Appended, (base, log_append_time))
            else:
                result = self._enqueue(data, span, max_timestamp, log_append_time, stable, producer_id, now)
        except KafkaError as error:
            if isinstance(error, CorruptMessage):
                self._remember_refused((data,), damaged=True)
            elif error.retriable:
                self._refused((data,))
            raise
        except NotLeader as error:
            raise self._failed(error, -1, (data,)) from error
        if producer_id >= 0:
            self.producers.put(producer_id, header[10], first, last, result, now)
            if manager.refused.active:
                manager.refused.taken(self.tp, producer_id)
        if self.waiting and type(result) is not Pending:
            tell_appended(self.waiting, len(data))
        return result

    def _failed_at_once(
        self, error: Exception, batch: Batch, log_append_time: int, producer_id: int
    ) -> Pending[Appended]:
        """A store that never waits has failed: until it is known what it has, its log waits like others.

        :raises KafkaError: it is known that nothing was written.
        """
        if is_certain(error):
            raise self._failed(error, batch.base_offset) from error
        if not batch.stable:
            batch = batch._replace(data=memoryview(bytearray(batch.data)), stable=True)
        self._immediate = False
        pending = self.queue.put(batch, log_append_time, producer_id)
        self.queue.depart(len(batch.data), self.high_watermark)
        self._manager.writers.resolve(self, error)
        return pending

    def _refused(self, batches: Iterable[Buffer]) -> None:
        """These were refused with a retriable error. Where others wait that came before them, that is
        remembered when those are appended: else these would have to come first."""
        if self._deferred is None:
            self._remember_refused(batches)
        else:
            for data in batches:
                self._deferred.refuse(data)

    def _remember_refused(self, batches: Iterable[Buffer], damaged: bool = False) -> None:
        """These were refused with a retriable error: until they come again, no later batch of their producers
        may take their place (:mod:`kgw_core.log.refused`)."""
        refused = self._manager.refused
        if self._topic.deleted:
            refused.remember_absent(self.tp.topic, self.tp.partition, batches)
        else:
            producers = self.producers if self.ready else None
            refused.remember_batches(self.tp, batches, producers, damaged)

    def _defer(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """Append it when the log is open, and what came before it has been looked into."""
        self._check_exists()
        manager = self._manager
        check_room(manager.budget, self.tp)
        if self._deferred is None:
            self._deferred = Deferred(manager.budget, looking=False)
            manager.openers.open(self)
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
            configs, now = self._topic.configs, manager.clock.time_ms()
            found = await workers.in_thread(
                looked_into, data, configs, now, manager.check_records, manager.max_inflated
            )
        except Exception as error:
            found = error.with_traceback(None) if isinstance(error, KafkaError) else error
        finally:
            self._deferred = None
            give_room(manager.budget, data)
        if isinstance(found, memoryview):
            found = attempted(self.append, found, looked=True)
        behind.append_all(self.append, self._refused, lambda: self._deferred, (pending, found))

    def _enqueue(
        self,
        data: memoryview,
        span: int,
        max_timestamp: int,
        log_append_time: int,
        stable: bool,
        producer_id: int,
        now: int,
    ) -> Pending[Appended]:
        manager = self._manager
        check_room(manager.budget, self.tp)
        if not stable:
            data = memoryview(bytearray(data))
        base = -1 if self.kind.numbers_records else manager.ledger.reserve(self.tp, span)
        _OFFSET.pack_into(data, 0, max(base, 0))
        _EPOCH.pack_into(data, 12, self.leader_epoch)
        batch = Batch(base, span, max_timestamp, data, True, now)
        pending = self.queue.put(batch, log_append_time, producer_id)
        manager.writers.submit(self)
        return pending

    @property
    def settled_below(self) -> int:
        """The offset below which no batch lies whose append is under way. A store that numbers records may
        tell that the log has grown before it answers the append, so this may be below the high watermark."""
        flight = self.queue.in_flight
        return self.high_watermark if flight is None else min(flight.lowest, self.high_watermark)

    def settle(self, outcome: Sequence[int] | Exception) -> None:
        """What the store said of what is in flight: the base offset of each batch, or why not.

        Where an error leaves open whether it was written, everybody waits until the store can say.
        """
        manager = self._manager
        flight = self.queue.in_flight
        assert flight is not None, "the store has answered for it"
        if isinstance(outcome, Exception):
            if not is_certain(outcome):
                manager.writers.resolve(self, outcome)
            elif (
                self.ready
                and len(flight.batches) > 1
                and isinstance(outcome, KafkaError)
                and not outcome.retriable
            ):
                self.queue.one_by_one()  # which of them the store does not take is not known
            else:
                self._not_stored(self.queue.landed(), outcome)
            return
        try:
            high_watermark = manager.ledger.committed(self.tp, flight.end(outcome))
        except Exception as error:
            manager.writers.resolve(self, error)
        else:
            if high_watermark > self.high_watermark:  # what others have written since may be committed, too
                self.high_watermark = high_watermark
            self._stored(self.queue.landed(), outcome)

    async def look_for_flight(self, error: Exception) -> Sequence[int] | Exception:
        """What came of what is in flight, of which ``error`` does not say it, however long that takes.

        Returns the base offset of each batch, or an error that says that none was stored.
        """
        manager = self._manager
        flight = self.queue.in_flight
        assert flight is not None
        logger.error(
            "storage failed on %s, and may have written all the same: %r; asking it what it has",
            self.tp, error, exc_info=error,
        )  # fmt: skip
        try:
            bases = await until_known(
                self.tp, flight, self.leader_epoch, manager.store, manager.ledger, manager.background,
                self.kind,
            )  # fmt: skip
        except (UnknownTopicOrPartition, OffsetConflict) as answer:
            return answer
        if bases is None:
            logger.warning("%s: %d batch(es) were not stored", self.tp, len(flight.batches))
            return KafkaStorageError(f"storage failed on {self.tp}, and has not stored it: {error}")
        logger.warning("%s: %d batch(es) were stored at offset %d", self.tp, len(bases), bases[0])
        return bases

    def _stored(self, written: Flight, bases: Sequence[int]) -> None:
        manager = self._manager
        appended = written.placed(bases, self.producers)
        if manager.late:
            manager.answered()
        if self.kind.tails is not None and self.ready:
            self.kind.tails.append(self.tp, bases[0], written.batches)
        if not self._immediate and not self.queue.waiting:
            self._immediate = self.kind.immediate
        written.resolve(appended)
        if self.waiting:
            tell_appended(self.waiting, written.size)
        self.unsaved += written.size
        if self.unsaved >= snapshots.EVERY_BYTES and manager.snapshots is not None:
            self.unsaved = 0
            manager.snapshot(self)

    def _not_stored(self, written: Flight, error: Exception) -> None:
        refused = [batch.data for batch in written.batches]
        failure = self._failed(error, written.batches[0].base_offset, refused)
        if failure is not error and failure.__cause__ is None:
            failure.__cause__ = error
        written.fail(failure)

    def _failed(self, error: Exception, base: int, refused: Iterable[Buffer] = ()) -> KafkaError:
        """An append failed: void all that is tentative, close; return what to tell those who wait.

        ``refused``: the batches that are told it before those in the queue.
        """
        failure = explained(error, self.tp)
        self.ready = False
        if isinstance(error, Fenced | OffsetConflict):
            self._manager.ledger.fenced(self.tp, getattr(error, "epoch", -1))
        self._immediate = self.kind.immediate
        if isinstance(failure, NotLeaderOrFollower | UnknownTopicOrPartition):
            self.producers = Producers()  # others may have written; else what was acknowledged still counts
            tell_changed(self.waiting)
        if self.kind.tails is not None:
            self.kind.tails.drop(self.tp)
        if base >= 0:
            self._manager.ledger.released(self.tp, base)
        if not failure.retriable:
            refused = ()
        self._remember_refused(chain(refused, (item.batch.data for item in self.queue.waiting)))
        self.queue.fail(retriable(failure, self.tp))
        return failure

    # -- what goes

    async def _prepare_trim(self, before: int) -> None:
        # A crash right after the trim would leave nothing of producers whose batches it deletes.
        snapshots = self._manager.snapshots
        if snapshots is not None and self.producers.have_batches_below(before):
            await snapshots.keep(self)

    def _starts_at(self, start: int) -> None:
        super()._starts_at(start)
        if self._manager.snapshots is not None and self.snapshot_offset < start and len(self.producers):
            self._manager.snapshot(self)  # the batches that told of them are gone

    # -- what store and ledger tell by themselves

    def grown(self, end: int) -> None:
        """Others have appended up to ``end``."""
        if not self.ready:
            self._grown = max(end, self._grown)
        elif end > self.high_watermark:
            self.raise_high_watermark(self._manager.ledger.committed(self.tp, end))

    def raise_high_watermark(self, high_watermark: int) -> None:
        """More is committed than this gateway has appended."""
        if not self.ready:
            self._committed = max(high_watermark, self._committed)
        elif high_watermark > self.high_watermark:
            self.high_watermark = high_watermark
            tell_changed(self.waiting)

    def lose(self, epoch: int) -> None:
        """Another gateway leads the log, in ``epoch`` (-1: not known). What is in flight is told when the
        store has answered."""
        if self.ready and 0 <= epoch < self.leader_epoch:
            return  # it did, before this gateway led anew
        self._lost = True
        if self.ready:
            self._failed(Fenced(self.tp, epoch), -1)
        else:
            self.producers = Producers()
            self._manager.ledger.fenced(self.tp, epoch)

    # -- the end

    def deleted(self) -> None:
        """The topic is gone: who waits is told at once."""
        failure = self._failed(UnknownTopicOrPartition(f"topic {self.tp.topic} was deleted"), -1)
        if self._deferred is not None and not self._deferred.looking:
            self._fail_deferred(self._deferred, failure)
        self._manager.ledger.closed(self.tp)
        self._manager.forget(self)

    async def told(self) -> None:
        """Return when all who have appended know what came of it. The topic is gone, so no more come.

        What is told later could be a refusal, of a batch whose successor a new topic has taken by then.
        """
        while True:
            items = self.queue.in_flight.items if self.queue.in_flight is not None else self.queue.waiting
            pending: Pending[Any]
            if items:
                pending = items[-1].pending
            elif self._deferred is not None:
                pending = self._deferred.over
            else:
                return
            with suppress(Exception):
                await pending.wait()
