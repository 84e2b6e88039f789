"""The appends of one log that wait, and the memory that they take.

An append is *deferred* while the log opens, or while an earlier batch is validated in a thread
(:class:`DeferredAppends`). A validated batch is *queued* until the store takes it (:class:`AppendQueue`), and
*in flight* until the store has answered (:class:`Flight`). An immediate store needs no queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import anyio

from kgw_core.budget import Budget
from kgw_core.errors import KafkaError, KafkaStorageError
from kgw_core.log.producers import Appended, Producers
from kgw_core.log.refused import comes_before
from kgw_core.pending import Pending
from kgw_core.records.batch import HEADER_SIZE
from kgw_core.spi.storage import Batch, Buffer, TopicPartition

# -- the memory of appends that wait

QUEUED = 1024
"""The bytes of a waiting append beside those of its batch."""


def check_budget(budget: Budget, tp: TopicPartition) -> None:
    """Return if another append may wait. :raises KafkaStorageError: too much waits for the storage."""
    if budget.exhausted:
        raise KafkaStorageError(
            f"{tp}: not taken, as requests and appends that wait for the storage take {budget.used} "
            f"bytes, more than {budget.limit} (limits.max_total_in_flight_bytes)"
        )


def count_append(budget: Budget, data: Buffer) -> None:
    """The append of this batch begins to wait."""
    budget.take(len(data) + QUEUED)


def uncount_append(budget: Budget, data: Buffer) -> None:
    """The append of this batch has stopped waiting."""
    budget.give(len(data) + QUEUED)


# -- before the store


class Queued(NamedTuple):
    """A batch and its Pending."""

    batch: Batch
    pending: Pending[Appended]
    log_append_time: int
    producer_id: int


class Flight:
    """One append in flight: ``items`` with their ``batches``. ``span`` is the number of its offsets, ``size``
    of its bytes. No batch gets an offset below ``lowest``."""

    __slots__ = ("batches", "items", "lowest", "size", "span")

    def __init__(self, items: Sequence[Queued], most: int, lowest: int) -> None:
        """Take the first of ``items``: up to ``most`` bytes, but at least one item."""
        self.lowest = lowest
        self.batches: list[Batch] = []
        size = span = 0
        for item in items:
            batch = item.batch
            after = size + len(batch.data)
            if span and after > most:
                break
            self.batches.append(batch)
            size = after
            span += batch.span
        self.items = items[: len(self.batches)]
        self.size = size
        self.span = span

    def end(self, bases: Sequence[int]) -> int:
        """The offset after the last batch, from the base offset of each.

        :raises RuntimeError: the number of base offsets is wrong.
        """
        if len(bases) != len(self.batches):
            raise RuntimeError(f"store gave {len(bases)} base offsets for {len(self.batches)} batches")
        return bases[-1] + self.batches[-1].span

    def outcomes(self, bases: Sequence[int], producers: Producers) -> list[Appended]:
        """The outcome of each batch, from its base offset. The producers get them, too."""
        outcomes = []
        for item, base in zip(self.items, bases, strict=True):
            appended = Appended(base, item.log_append_time)
            outcomes.append(appended)
            if item.producer_id >= 0:
                producers.settle(item.producer_id, item.pending, appended)
        return outcomes

    def resolve(self, outcomes: list[Appended]) -> None:
        """Resolve the Pendings with their outcomes."""
        for item, outcome in zip(self.items, outcomes, strict=True):
            item.pending.resolve(outcome)

    def fail(self, failure: KafkaError) -> None:
        """Fail the Pendings."""
        for item in self.items:
            item.pending.fail(failure)


class AppendQueue:
    """The queued batches of one log. The store gets the next append when the one ``in_flight`` is done."""

    __slots__ = ("_alone", "_budget", "_landed", "in_flight", "waiting")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.waiting: Sequence[Queued] = ()  # not a list, which the garbage collector would track
        self.in_flight: Flight | None = None
        self._landed: anyio.Event | None = None
        self._alone = 0  # how many waiting batches have to be appended one by one

    def put(self, batch: Batch, log_append_time: int, producer_id: int) -> Pending[Appended]:
        """Add a batch. Its bytes must not change."""
        pending: Pending[Appended] = Pending()
        queued = Queued(batch, pending, log_append_time, producer_id)
        if isinstance(self.waiting, list):
            self.waiting.append(queued)
        else:
            self.waiting = [queued]
        count_append(self._budget, batch.data)
        return pending

    def depart(self, most: int, high_watermark: int) -> Flight:
        """The next append: up to ``most`` bytes, or one batch, after the log's high watermark."""
        if self._alone:
            self._alone -= 1
            most = 0
        flight = self.in_flight = Flight(self.waiting, most, high_watermark)
        self.waiting = self.waiting[len(flight.batches) :] or ()
        return flight

    def one_by_one(self) -> None:
        """The append in flight was not stored: put its batches back to the front, to be appended one by
        one."""
        flight, self.in_flight = self.in_flight, None
        assert flight is not None
        self._alone = len(flight.batches)
        self.waiting = [*flight.items, *self.waiting]

    def landed(self) -> Flight:
        """The store has answered the append in flight."""
        flight, self.in_flight = self.in_flight, None
        assert flight is not None
        self._budget.give(flight.size + QUEUED * len(flight.batches))
        if self._landed is not None:
            self._landed.set()
        return flight

    async def idle(self) -> None:
        """Return when the store has answered the append in flight."""
        while self.in_flight is not None:
            self._landed = anyio.Event()
            await self._landed.wait()
            self._landed = None

    def fail(self, failure: KafkaError) -> None:
        """Remove the waiting batches. The append in flight stays until the store answers."""
        items, self.waiting, self._alone = self.waiting, (), 0
        for item in items:
            uncount_append(self._budget, item.batch.data)
            item.pending.fail(failure)


# -- before the log

Append: TypeAlias = Callable[[memoryview, bool, bool], Appended | Pending[Appended]]
"""``append(data, stable, validated)`` of a log."""

Outcome: TypeAlias = Appended | Pending[Appended] | Exception

Deferred: TypeAlias = tuple[memoryview, Pending[Appended] | None]
"""A batch and its Pending, or the header of a batch that was refused."""


class DeferredAppends:
    """The deferred appends of one log.

    They are appended in the order of arrival, and before any later one. So no outcome is announced before all
    are appended, as its receiver may append more at once.
    """

    __slots__ = ("_budget", "_refused", "_waiting", "over")

    def __init__(self, budget: Budget) -> None:
        self.over: Pending[None] = Pending()
        """Resolved when all were appended, or wait for the log's next obstacle."""
        self._budget = budget
        self._waiting: deque[Deferred] = deque()
        self._refused: dict[bytes, int] = {}  # sequences by producer, if no later batch of it came

    def add(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """Defer a batch. The Pending gets the outcome of its append. ``stable``: as for an append."""
        if not stable:
            data = memoryview(bytearray(data))
        pending: Pending[Appended] = Pending()
        self._waiting.append((data, pending))
        self._refused.pop(_producer(data), None)
        count_append(self._budget, data)
        return pending

    def refuse(self, data: Buffer) -> None:
        """A batch was refused with a retriable error. The log remembers it in its turn: after the appends
        before it, and before those after it."""
        if len(data) < HEADER_SIZE:
            return
        header = memoryview(bytes(data[:HEADER_SIZE]))
        producer, sequence = _producer(header), int.from_bytes(header[53:57], "big", signed=True)
        known = self._refused.get(producer)
        if known is None or comes_before(sequence, known):
            self._refused[producer] = sequence
            self._waiting.append((header, None))

    def take(self) -> Iterable[Deferred]:
        """Remove and return all deferred appends."""
        waiting, self._waiting, self._refused = self._waiting, deque(), {}
        for data, pending in waiting:
            if pending is not None:
                uncount_append(self._budget, data)
        return waiting

    def append_all(
        self,
        append: Append,
        remember: Callable[[Iterable[memoryview]], object],
        current: Callable[[], DeferredAppends | None],
        first: tuple[Pending[Appended], Outcome] | None = None,
    ) -> None:
        """Append all. ``first`` is the Pending of the batch before them with its outcome.

        ``remember(batches)`` is called for refused batches. ``current()`` returns the log's new
        DeferredAppends if one of these appends makes the later ones wait again.
        """
        outcomes = [first] if first is not None else []
        behind = None
        while self._waiting and behind is None:
            data, waiter = self._waiting.popleft()
            if waiter is None:
                remember((data,))
                continue
            uncount_append(self._budget, data)
            outcomes.append((waiter, attempted(append, data)))
            behind = current()
        if behind is not None:
            behind._take_over(self)
        for pending, outcome in outcomes:
            _tell(pending, outcome)
        self.over.resolve(None)

    def _take_over(self, other: DeferredAppends) -> None:
        """Move the appends of ``other`` to the end of this line."""
        if self._waiting:
            self._waiting.extend(other._waiting)
            other._waiting.clear()
        else:
            self._waiting, other._waiting = other._waiting, self._waiting
        self._refused.clear()


def fail(deferred: Iterable[Deferred], failure: KafkaError) -> None:
    """The log cannot be opened: fail the Pendings."""
    for _, pending in deferred:
        if pending is not None:
            pending.fail(failure)


def attempted(append: Append, data: memoryview, validated: bool = False) -> Outcome:
    """The outcome of a deferred append."""
    try:
        return append(data, True, validated)
    except Exception as error:
        return error


def _producer(data: Buffer) -> bytes:
    """The producer's id and epoch."""
    return bytes(data[43:53])


def _tell(pending: Pending[Appended], outcome: Outcome) -> None:
    if isinstance(outcome, Pending):
        outcome.then(partial(_forward, pending))
    elif isinstance(outcome, Exception):
        pending.fail(outcome)
    else:
        pending.resolve(outcome)


def _forward(pending: Pending[Appended], source: Pending[Appended]) -> None:
    try:
        pending.resolve(source.result())
    except Exception as error:
        pending.fail(error)
