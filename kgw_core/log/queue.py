"""The queue of a log before a store that waits: batches that wait, and the append in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import anyio

from kgw_core.errors import KafkaError
from kgw_core.log.producers import Appended, Producers
from kgw_core.log.room import QUEUED, give_room
from kgw_core.pending import Pending
from kgw_core.spi.storage import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kgw_core.log.manager import LogManager


class Queued(NamedTuple):
    """A batch and its Pending."""

    batch: Batch
    pending: Pending[Appended]
    log_append_time: int
    producer_id: int


class Flight:
    """One append in flight: ``items`` with their ``batches``. ``span`` is its offsets, ``size`` its bytes. No
    batch gets an offset below ``lowest``."""

    __slots__ = ("batches", "items", "lowest", "size", "span")

    def __init__(self, items: Sequence[Queued], most: int, lowest: int) -> None:
        """The first ``items`` of up to ``most`` bytes, at least one."""
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

    def placed(self, bases: Sequence[int], producers: Producers) -> list[Appended]:
        """The outcome of each batch from its base offset. Updates the producers."""
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
    """The queue of one log. The store gets the next append when the one ``in_flight`` is done."""

    __slots__ = ("_alone", "_landed", "_manager", "in_flight", "waiting")

    def __init__(self, manager: LogManager) -> None:
        self._manager = manager
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
        self._manager.budget.take(len(batch.data) + QUEUED)
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
        self._manager.budget.give(flight.size + QUEUED * len(flight.batches))
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
            give_room(self._manager.budget, item.batch.data)
            item.pending.fail(failure)
