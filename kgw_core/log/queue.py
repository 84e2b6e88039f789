"""Batches on their way into a store that waits: those not handed over yet, and those the store is at."""

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
    """A batch, and who waits for it."""

    batch: Batch
    pending: Pending[Appended]
    log_append_time: int
    producer_id: int


class Flight:
    """What the store is at, in one append: ``items`` with their ``batches``. ``span``: offsets that it takes;
    ``size``: bytes that it is. ``lowest``: no batch gets an offset below this."""

    __slots__ = ("batches", "items", "lowest", "size", "span")

    def __init__(self, items: Sequence[Queued], most: int, lowest: int) -> None:
        """The first of ``items`` that make up to ``most`` bytes, at least one."""
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
        """The offset after the last, now that each is at its base offset.

        :raises RuntimeError: there is not a base offset for each.
        """
        if len(bases) != len(self.batches):
            raise RuntimeError(f"store gave {len(bases)} base offsets for {len(self.batches)} batches")
        return bases[-1] + self.batches[-1].span

    def placed(self, bases: Sequence[int], producers: Producers) -> list[Appended]:
        """What came of each, now that it is at its base offset; their producers are told."""
        outcomes = []
        for item, base in zip(self.items, bases, strict=True):
            appended = Appended(base, item.log_append_time)
            outcomes.append(appended)
            if item.producer_id >= 0:
                producers.settle(item.producer_id, item.pending, appended)
        return outcomes

    def resolve(self, outcomes: list[Appended]) -> None:
        """Tell those who wait."""
        for item, outcome in zip(self.items, outcomes, strict=True):
            item.pending.resolve(outcome)

    def fail(self, failure: KafkaError) -> None:
        """Tell those who wait that nothing came of it."""
        for item in self.items:
            item.pending.fail(failure)


class AppendQueue:
    """Those of one log. The store gets the next only when it is done with what is ``in_flight``."""

    __slots__ = ("_alone", "_landed", "_manager", "in_flight", "waiting")

    def __init__(self, manager: LogManager) -> None:
        self._manager = manager
        self.waiting: Sequence[Queued] = ()  # not a list yet, which the garbage collector would track
        self.in_flight: Flight | None = None
        self._landed: anyio.Event | None = None
        self._alone = 0  # how many of those that wait are to be appended one by one

    def put(self, batch: Batch, log_append_time: int, producer_id: int) -> Pending[Appended]:
        """Its bytes have to stay as they are."""
        pending: Pending[Appended] = Pending()
        queued = Queued(batch, pending, log_append_time, producer_id)
        if isinstance(self.waiting, list):
            self.waiting.append(queued)
        else:
            self.waiting = [queued]
        self._manager.budget.take(len(batch.data) + QUEUED)
        return pending

    def depart(self, most: int, high_watermark: int) -> Flight:
        """What the store is to append now, ``most`` bytes of it or one batch, behind the log's high
        watermark."""
        if self._alone:
            self._alone -= 1
            most = 0
        flight = self.in_flight = Flight(self.waiting, most, high_watermark)
        self.waiting = self.waiting[len(flight.batches) :] or ()
        return flight

    def one_by_one(self) -> None:
        """What is in flight was not stored: each of its batches is to be appended by itself, first."""
        flight, self.in_flight = self.in_flight, None
        assert flight is not None
        self._alone = len(flight.batches)
        self.waiting = [*flight.items, *self.waiting]

    def landed(self) -> Flight:
        """The store has answered for what was in flight."""
        flight, self.in_flight = self.in_flight, None
        assert flight is not None
        self._manager.budget.give(flight.size + QUEUED * len(flight.batches))
        if self._landed is not None:
            self._landed.set()
        return flight

    async def idle(self) -> None:
        """Return when the store has answered for what was in flight."""
        while self.in_flight is not None:
            self._landed = anyio.Event()
            await self._landed.wait()
            self._landed = None

    def fail(self, failure: KafkaError) -> None:
        """What waits will not be handed over; of what is in flight the store has to tell."""
        items, self.waiting, self._alone = self.waiting, (), 0
        for item in items:
            give_room(self._manager.budget, item.batch.data)
            item.pending.fail(failure)
