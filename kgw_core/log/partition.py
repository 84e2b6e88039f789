"""One partition's log (Kafka's UnifiedLog): an append, from its checks to the outcome of the store.

Appends belong to the log, not to their requests. A batch is checked, gets its offsets and its place in its
producer's sequence, and is stored: at once in an immediate store, else through the queue
(:mod:`kgw_core.log.queue`) and the writers. If the log cannot take it yet, it is deferred first
(:mod:`kgw_core.log.deferred`). The offsets and the place of a queued batch are tentative. If its append has
certainly failed, all queued batches are answered with a retriable error, the log closes, and its next use
reads everything again. While the outcome is unknown (:mod:`kgw_core.log.resolving`), no batch is answered,
and later ones are queued.
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
    """The log of one partition. Not thread-safe; it runs on the event loop."""

    __slots__ = (
        "_committed",
        "_deferred",
        "_grown",
        "_immediate",
        "_lost",
        "producers",
        "queue",
        "snapshot_offset",
        "snapshot_version",
        "unsaved",
    )

    def __init__(self, tp: TopicPartition, topic: TopicState[PartitionLog], manager: LogManager) -> None:
        super().__init__(tp, topic, manager)
        self.producers = Producers()
        self.queue = AppendQueue(manager)
        self.unsaved = 0
        """Bytes appended, or read when it was opened, since the last snapshot of the producers."""
        self.snapshot_offset = -1
        """The offset of the last snapshot of the producers since the log was made."""
        self.snapshot_version: int | None = None
        """The version of that snapshot in the state; None if it is unknown."""
        self._immediate = self.kind.immediate  # off while the outcome of an append is unknown
        self._lost = False  # another gateway has become the leader while the log was opened
        self._grown = self._committed = 0  # the highest events of store and ledger while closed
        self._deferred: Deferred | None = None  # None if no append is deferred

    # -- opening

    async def open(self) -> None:
        """Open the log: lead it, and read its bounds and producers.

        :raises NotLeaderOrFollower: another gateway leads it.
        :raises KafkaError: the topic was deleted, or the store failed.
        """
        if self.ready:
            return
        async with self._manager.opening.of(self.tp):
            if self.ready:
                return
            try:
                self._check_exists()
                if self._manager.resigned:
                    raise NotLeaderOrFollower(f"{self.tp} is led no more, as the gateway stops")
                await self.queue.idle()  # appends in flight of an earlier leadership may still be stored
                self._lost = False
                async with self.changing():  # a trim in flight would move the start meanwhile
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
                    self._check_exists()  # it may have been deleted meanwhile
                    if self._lost:
                        raise NotLeaderOrFollower(f"{self.tp} was lost to another gateway")
                    self._begin(found)
            except Exception as error:
                failure = explained(error, self.tp)
                if isinstance(failure, OffsetOutOfRange):  # another gateway has trimmed the log meanwhile
                    failure = KafkaStorageError(f"{self.tp} changed while it was opened: {error}")
                if self._deferred is not None:
                    self._fail_deferred(self._deferred, failure)
                raise failure from error

    def _fail_deferred(self, deferred: Deferred, failure: KafkaError) -> None:
        """The log cannot be opened: fail the deferred appends."""
        if not deferred.looking:
            self._deferred = None
        waited = deferred.take()
        if failure.retriable:
            self._refused(data for data, _ in waited)
        fail(waited, failure)

    def _begin(self, found: Opened) -> None:
        moved = found.high_watermark > self.high_watermark or found.start > self.start
        self.start, self.high_watermark, self.leader_epoch, self.producers, self.unsaved = found
        # Nothing awaits from here on, so no append can overtake those that came while the log was opening.
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
        """Append the single batch in ``data``, whose offset and leader epoch are written into the bytes.

        ``stable``: the bytes do not change after the call, and may be kept. ``looked``: the records are
        checked already.

        :raises KafkaError: the batch is refused, with Kafka's code. A Pending fails with the error of the
            store.
        """
        manager = self._manager
        try:
            if not self.ready or self._deferred:
                return self._defer(data, stable)
            configs = self.topic.configs
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
        """An immediate store has failed. Until the outcome is known, the log queues appends as with other
        stores.

        :raises KafkaError: certainly nothing was written.
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
        """These batches were refused with a retriable error. If earlier appends are deferred, the refusal is
        remembered after them; else these batches would have to come before them."""
        if self._deferred is None:
            self._remember_refused(batches)
        else:
            for data in batches:
                self._deferred.refuse(data)

    def _remember_refused(self, batches: Iterable[Buffer], damaged: bool = False) -> None:
        """These batches were refused with a retriable error. Until they come again, no later batch of their
        producers may take their place (:mod:`kgw_core.log.refused`)."""
        refused = self._manager.refused
        if self.topic.deleted:
            refused.remember_absent(self.tp.topic, self.tp.partition, batches)
        else:
            producers = self.producers if self.ready else None
            refused.remember_batches(self.tp, batches, producers, damaged)

    def _defer(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """Append the batch when the log is open and earlier batches are checked."""
        self._check_exists()
        manager = self._manager
        check_room(manager.budget, self.tp)
        if self._deferred is None:
            self._deferred = Deferred(manager.budget, looking=False)
            manager.openers.open(self)
        return self._deferred.add(data, stable)

    def _look_first(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """Check the records in a thread. Later appends to the log wait for that."""
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
            configs, now = self.topic.configs, manager.clock.time_ms()
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
        """The offset below which there is no batch in flight. A store that numbers records may report that
        the log has grown before it answers the append, so this may be below the high watermark."""
        flight = self.queue.in_flight
        return self.high_watermark if flight is None else min(flight.lowest, self.high_watermark)

    def settle(self, outcome: Sequence[int] | Exception) -> None:
        """Settle the append in flight with the outcome of the store: the base offset of each batch, or the
        error.

        If the error leaves the outcome unknown, all wait until the store knows it.
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
                self.queue.one_by_one()  # it is unknown which of them the store refuses
            else:
                self._not_stored(self.queue.landed(), outcome)
            return
        try:
            high_watermark = manager.ledger.committed(self.tp, flight.end(outcome))
        except Exception as error:
            manager.writers.resolve(self, error)
        else:
            if high_watermark > self.high_watermark:  # batches of other writers may be committed, too
                self.high_watermark = high_watermark
            self._stored(self.queue.landed(), outcome)

    async def look_for_flight(self, error: Exception) -> Sequence[int] | Exception:
        """The outcome of the append in flight, which ``error`` leaves unknown. This may take long.

        Returns the base offset of each batch, or an error if none was stored.
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
        """An append failed: drop all tentative state and close. Return a function that answers the waiting
        appends.

        ``refused`` are the batches to answer before those in the queue.
        """
        failure = explained(error, self.tp)
        self.ready = False
        if isinstance(error, Fenced | OffsetConflict):
            self._manager.ledger.fenced(self.tp, getattr(error, "epoch", -1))
        self._immediate = self.kind.immediate
        if isinstance(failure, NotLeaderOrFollower | UnknownTopicOrPartition):
            self.producers = Producers()  # others may have written; else the acknowledged state stays valid
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

    # -- trims

    async def _prepare_trim(self, before: int) -> None:
        # After a crash right after the trim, the producers of the deleted batches would be unknown.
        snapshots = self._manager.snapshots
        if snapshots is not None and self.producers.have_batches_below(before):
            await snapshots.keep(self)

    def _starts_at(self, start: int) -> None:
        super()._starts_at(start)
        if self._manager.snapshots is not None and self.snapshot_offset < start and len(self.producers):
            self._manager.snapshot(self)  # the batches that told of them are gone

    # -- events of store and ledger

    def grown(self, end: int) -> None:
        """Other writers have appended up to ``end``."""
        if not self.ready:
            self._grown = max(end, self._grown)
        elif end > self.high_watermark:
            self.raise_high_watermark(self._manager.ledger.committed(self.tp, end))

    def raise_high_watermark(self, high_watermark: int) -> None:
        """Batches of other writers are committed."""
        if not self.ready:
            self._committed = max(high_watermark, self._committed)
        elif high_watermark > self.high_watermark:
            self.high_watermark = high_watermark
            tell_changed(self.waiting)

    def lose(self, epoch: int) -> None:
        """Another gateway leads the log, in ``epoch`` (-1: unknown). The append in flight is answered when
        the store has answered."""
        if self.ready and 0 <= epoch < self.leader_epoch:
            return  # that was before this gateway led again
        self._lost = True
        if self.ready:
            self._failed(Fenced(self.tp, epoch), -1)
        else:
            self.producers = Producers()
            self._manager.ledger.fenced(self.tp, epoch)

    # -- the end

    def deleted(self) -> None:
        """The topic was deleted: waiting appends are answered at once."""
        failure = self._failed(UnknownTopicOrPartition(f"topic {self.tp.topic} was deleted"), -1)
        if self._deferred is not None and not self._deferred.looking:
            self._fail_deferred(self._deferred, failure)
        self._manager.ledger.closed(self.tp)
        self._manager.forget(self)

    async def told(self) -> None:
        """Return when all appends are answered. The topic was deleted, so there are no new ones.

        A later answer could be a refusal of a batch whose successor a new topic has taken by then.
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
