"""One partition's log (Kafka's UnifiedLog): it opens, takes appends, and is read.

Appends belong to the log, not to their requests. A batch is validated, gets its offsets and its place in its
producer's sequence, and is stored: at once in an immediate store, else through the log's queue
(:mod:`kgw_core.log.append_queue`) and a writer (:mod:`kgw_core.log.writer`). If the log cannot take the batch
yet, its append is deferred first. Offsets and place of a queued batch are tentative, until the store has
answered (:mod:`kgw_core.log.outcome`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from kgw_core import workers
from kgw_core.errors import (
    CorruptMessage,
    InvalidTxnState,
    KafkaError,
    KafkaStorageError,
    NotLeaderOrFollower,
    OffsetOutOfRange,
    OutOfOrderSequenceNumber,
    UnknownTopicOrPartition,
)
from kgw_core.log import append_queue, outcome, trimming
from kgw_core.log.append_queue import (
    DeferredAppends,
    Outcome,
    attempted,
    check_budget,
    count_append,
    uncount_append,
)
from kgw_core.log.batch_header import Header, check_batch
from kgw_core.log.log_state import LogState
from kgw_core.log.opening import Opened, opened, take_over
from kgw_core.log.outcome import explained, fail_appends, is_certain, refuse, refuse_damaged
from kgw_core.log.producers import Appended
from kgw_core.log.validator import TakesLong, validate, validated_in_thread
from kgw_core.log.waiting import tell_appended, tell_changed
from kgw_core.pending import Pending
from kgw_core.records.batch import HEADER, TRANSACTIONAL, set_log_append_time
from kgw_core.records.runs import up_to
from kgw_core.spi.ledger import NotLeader
from kgw_core.spi.storage import Batch, Run

_OFFSET = struct.Struct(">q")
_EPOCH = struct.Struct(">i")
_SEQUENCES = 1 << 31
_new_tuple = tuple.__new__  # a NamedTuple's own constructor is a Python function


class PartitionLog(LogState):
    """The log of one partition. Not thread-safe; it runs on the event loop."""

    __slots__ = ()

    # -- opening

    async def open(self) -> None:
        """Open the log: lead it, and read its bounds and producers.

        :raises NotLeaderOrFollower: another gateway leads it.
        :raises KafkaError: the topic was deleted, or the store failed.
        """
        if self.ready:
            return
        context = self.context
        async with context.openers.lock(self.tp):
            if self.ready:
                return
            try:
                self.check_exists()
                if context.openers.resigned:
                    raise NotLeaderOrFollower(f"{self.tp} is led no more, as the gateway stops")
                await self.queue.idle()  # appends in flight of an earlier leadership may still be stored
                self.lost = False
                async with self.changing():  # a trim in flight would move the start meanwhile
                    self.check_exists()
                    found = await opened(
                        self.tp,
                        context.store,
                        context.ledger,
                        context.snapshots,
                        context.clock.time_ms(),
                        context.refused.expiration_ms,
                    )
                    await take_over(found.producers, self.producers)
                    self.check_exists()  # it may have been deleted meanwhile
                    if self.lost:
                        raise NotLeaderOrFollower(f"{self.tp} was lost to another gateway")
                    self.kind = context.kind(self.topic.topic)  # nothing is in flight
                    self.immediate = self.kind.immediate
                    self._begin(found)
            except Exception as error:
                failure = explained(error, self.tp)
                if isinstance(failure, OffsetOutOfRange):  # another gateway has trimmed the log meanwhile
                    failure = KafkaStorageError(f"{self.tp} changed while it was opened: {error}")
                if self.deferred is not None:
                    self._fail_deferred(self.deferred, failure)
                raise failure from error

    def _fail_deferred(self, deferred: DeferredAppends, failure: KafkaError) -> None:
        """The log cannot be opened: fail the deferred appends."""
        if not self.validating:
            self.deferred = None
        waited = deferred.take()
        if failure.retriable:
            refuse(self, (data for data, _ in waited))
        append_queue.fail(waited, failure)

    def _begin(self, found: Opened) -> None:
        moved = found.high_watermark > self.high_watermark or found.start > self.start
        self.start, self.high_watermark, self.leader_epoch, self.producers, self.unsaved = found
        # Nothing awaits from here on, so no append can overtake those that came while the log was opening.
        self.ready = True
        self.grown(self.grown_to)
        self.raise_high_watermark(self.committed_to)
        deferred = self.deferred
        if deferred is not None and not self.validating:
            self.deferred = None
            self._append_deferred(deferred)
        if moved:
            tell_changed(self.waiting)

    # -- appending

    def append(self, data: memoryview, stable: bool, validated: bool = False) -> Appended | Pending[Appended]:
        """Append the single batch in ``data``, whose offset and leader epoch are written into the bytes.

        ``stable``: the bytes do not change after the call, and may be kept. ``validated``: the records are
        checked already, and the header is corrected.

        :raises KafkaError: the batch is refused, with Kafka's code. A Pending fails with the error of the
            store.
        """
        context = self.context
        try:
            if not self.ready or self.deferred:
                return self._defer(data, stable)
            configs = self.topic.configs
            now = context.clock.time_ms()
            header: Header = HEADER.unpack_from(data) if validated else check_batch(data, configs)
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
                known = self.producers.find(producer_id, header[10], first, last)
                if known is not None:
                    return known  # type: ignore[return-value] # the outcome that put() got below
                if context.refused.active and self.producers.get(producer_id) is None:
                    context.refused.check(self.tp, producer_id, header[10], first)
            max_timestamp = header[8]
            log_append_time = -1
            if not validated:
                try:
                    found, max_timestamp = validate(
                        data, header, configs, now, context.check_records, context.max_inflated, True
                    )
                except TakesLong:
                    return self._validate_first(data, stable)
                if found is not data:
                    data, stable = found, True
            if configs.log_append_time:
                set_log_append_time(data, now)
                log_append_time = max_timestamp = now
            span = header[6] + 1
            result: Appended | Pending[Appended]
            if self.immediate:
                base = context.ledger.reserve(self.tp, span)
                _OFFSET.pack_into(data, 0, base)
                _EPOCH.pack_into(data, 12, self.leader_epoch)
                batch: Batch = _new_tuple(Batch, (base, span, max_timestamp, data, stable, now))
                try:
                    context.store.append_now(self.tp, (batch,), self.leader_epoch)
                    self.high_watermark = context.ledger.committed(self.tp, base + span)
                except Exception as error:
                    result = self._failed_at_once(error, batch, log_append_time, producer_id)
                else:
                    result = _new_tuple(Appended, (base, log_append_time))
            else:
                check_budget(context.budget, self.tp)
                if not stable:
                    data = memoryview(bytearray(data))
                base = -1 if self.kind.numbers_records else context.ledger.reserve(self.tp, span)
                _OFFSET.pack_into(data, 0, max(base, 0))
                _EPOCH.pack_into(data, 12, self.leader_epoch)
                batch = Batch(base, span, max_timestamp, data, True, now)
                result = self.queue.put(batch, log_append_time, producer_id)
                context.writers.submit(self)
        except KafkaError as error:
            if isinstance(error, CorruptMessage):
                refuse_damaged(self, data)
            elif error.retriable:
                refuse(self, (data,))
            elif isinstance(error, OutOfOrderSequenceNumber) and context.refused.active:
                behind = context.refused.in_flight_behind(self.tp, producer_id, header[10], first)
                if behind is not None:
                    raise behind from error
            raise
        except NotLeader as error:
            raise fail_appends(self, error, refused=(data,)) from error
        if producer_id >= 0:
            self.producers.put(producer_id, header[10], first, last, result, now)
            if context.refused.active:
                context.refused.taken(self.tp, producer_id)
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
            raise fail_appends(self, error, batch.base_offset) from error
        if not batch.stable:
            batch = batch._replace(data=memoryview(bytearray(batch.data)), stable=True)
        self.immediate = False
        pending = self.queue.put(batch, log_append_time, producer_id)
        self.queue.depart(len(batch.data), self.high_watermark)
        self.context.writers.resolve(self, error)
        return pending

    def settle(self, answer: Sequence[int] | Exception) -> Exception | None:
        """The store has answered the append in flight: :func:`kgw_core.log.outcome.settle`."""
        return outcome.settle(self, answer)

    async def resolved(self, error: Exception) -> Sequence[int] | Exception:
        """The outcome of the append in flight: :func:`kgw_core.log.outcome.resolved`."""
        return await outcome.resolved(self, error)

    # -- deferred appends

    def _defer(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """Append the batch when the log is open and earlier batches are validated."""
        self.check_exists()
        context = self.context
        check_budget(context.budget, self.tp)
        if self.deferred is None:
            self.deferred = DeferredAppends(context.budget)
            context.openers.open(self)
        return self.deferred.add(data, stable)

    def _append_deferred(
        self, deferred: DeferredAppends, first: tuple[Pending[Appended], Outcome] | None = None
    ) -> None:
        deferred.append_all(self.append, lambda data: refuse(self, data), lambda: self.deferred, first)

    def _validate_first(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """Validate the batch in a thread. Later appends to the log wait for that."""
        context = self.context
        check_budget(context.budget, self.tp)
        if not stable:
            data = memoryview(bytearray(data))
        pending: Pending[Appended] = Pending()
        self.deferred, self.validating = DeferredAppends(context.budget), True
        count_append(context.budget, data)
        context.spawn(self._validate(data, pending, self.deferred))
        return pending

    async def _validate(self, data: memoryview, pending: Pending[Appended], behind: DeferredAppends) -> None:
        context = self.context
        found: Outcome | memoryview
        try:
            configs, now = self.topic.configs, context.clock.time_ms()
            found = await workers.in_thread(
                validated_in_thread, data, configs, now, context.check_records, context.max_inflated
            )
        except Exception as error:
            found = error.with_traceback(None) if isinstance(error, KafkaError) else error
        finally:
            self.deferred, self.validating = None, False
            uncount_append(context.budget, data)
        if isinstance(found, memoryview):
            found = attempted(self.append, found, validated=True)
        self._append_deferred(behind, (pending, found))

    # -- reading

    def read_now(self, offset: int, max_bytes: int) -> Sequence[Run] | None:
        """Runs from ``offset`` on, at least one batch if there is one. Only for ready logs. None if the store
        has to be awaited: :meth:`read`.

        :raises OffsetOutOfRange: ``offset`` is below the log start offset or above the high watermark.
        :raises UnknownTopicOrPartition: the topic was deleted.
        """
        if not self.start <= offset < self.high_watermark:
            self.check_offset(offset)
            return ()
        if not self.kind.immediate:
            tails = self.kind.tails
            runs = tails.read(self.tp, offset, max_bytes) if tails is not None else None
            return up_to(runs, self.high_watermark) if runs is not None else None
        try:
            return self.context.store.read_now(self.tp, offset, max_bytes, self.high_watermark)
        except Exception as error:
            raise explained(error, self.tp) from error

    async def read(self, offset: int, max_bytes: int) -> Sequence[Run]:
        """:meth:`read_now` for any store. Opens the log if it is not ready."""
        await self.open()
        there = self.read_now(offset, max_bytes)
        if there is not None:
            return there
        try:
            return await self.context.store.read(self.tp, offset, max_bytes, self.high_watermark)
        except Exception as error:
            raise explained(error, self.tp) from error

    # -- the start and the end

    async def trim(self, before: int) -> int:
        """Raise the log start offset to ``before`` (-1: the high watermark). Return the log start offset.

        :raises OffsetOutOfRange: ``before`` is above the high watermark.
        """
        await self.open()
        await trimming.trim(self, before)
        return self.start

    def change_kind(self) -> None:
        """The store's capabilities for the topic have changed: close the log, which has the new kind when it
        opens again. Queued batches are refused with a retriable error."""
        if self.ready:
            fail_appends(self, KafkaStorageError(f"{self.tp} opens again, as its topic has changed"))

    def lose(self, epoch: int) -> None:
        """Another gateway leads the log, in ``epoch`` (-1: unknown)."""
        outcome.lose(self, epoch)

    def deleted(self) -> None:
        """The topic was deleted: waiting appends are answered at once."""
        failure = fail_appends(self, UnknownTopicOrPartition(f"topic {self.tp.topic} was deleted"))
        if self.deferred is not None and not self.validating:
            self._fail_deferred(self.deferred, failure)
        self.context.ledger.closed(self.tp)
