"""Batches on their way into a store that waits: those not handed over yet, and those the store is at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kgw_core.errors import KafkaError
from kgw_core.log.producers import Appended, Producers
from kgw_core.log.room import give_room, take_room
from kgw_core.pending import Pending
from kgw_core.spi.storage import Batch

if TYPE_CHECKING:
    from kgw_core.log.manager import LogManager


class Queued(NamedTuple):
    """A batch, and who waits for it."""

    batch: Batch
    pending: Pending[Appended]
    log_append_time: int
    producer_id: int


class Flight(list[Queued]):
    """What the store is at, in one append."""

    __slots__ = ()

    @property
    def batches(self) -> list[Batch]:
        return [item.batch for item in self]

    @property
    def span(self) -> int:
        """How many offsets they take."""
        return sum(item.batch.span for item in self)

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return sum(len(item.batch.data) for item in self)

    def placed(self, base: int, producers: Producers) -> list[Appended]:
        """What came of each, now that the first is at ``base``; their producers are told."""
        outcomes = []
        for item in self:
            appended = Appended(base, item.log_append_time)
            outcomes.append(appended)
            if item.producer_id >= 0:
                producers.settle(item.producer_id, item.pending, appended)
            base += item.batch.span
        return outcomes

    def resolve(self, outcomes: list[Appended]) -> None:
        """Tell those who wait."""
        for item, outcome in zip(self, outcomes, strict=True):
            item.pending.resolve(outcome)

    def fail(self, failure: KafkaError) -> None:
        """Tell those who wait that nothing came of it."""
        for item in self:
            item.pending.fail(failure)


class AppendQueue:
    """Those of one log. The store gets the next only when it is done with what is ``in_flight``."""

    __slots__ = ("_manager", "in_flight", "waiting")

    def __init__(self, manager: LogManager) -> None:
        self._manager = manager
        self.waiting: list[Queued] = []
        self.in_flight: Flight | None = None

    def put(self, batch: Batch, log_append_time: int, producer_id: int) -> Pending[Appended]:
        """Its bytes have to stay as they are."""
        pending: Pending[Appended] = Pending()
        self.waiting.append(Queued(batch, pending, log_append_time, producer_id))
        take_room(self._manager.budget, batch.data)
        return pending

    def depart(self, most: int) -> list[Batch]:
        """What the store is to append now, ``most`` bytes of it or one batch."""
        size = taken = 0
        for item in self.waiting:
            size += len(item.batch.data)
            if taken and size > most:
                break
            taken += 1
        self.in_flight, self.waiting = Flight(self.waiting[:taken]), self.waiting[taken:]
        return self.in_flight.batches

    def landed(self) -> Flight:
        """The store has answered for what was in flight."""
        flight, self.in_flight = self.in_flight, None
        assert flight is not None
        for item in flight:
            give_room(self._manager.budget, item.batch.data)
        return flight

    def fail(self, failure: KafkaError) -> None:
        """What waits will not be handed over; of what is in flight the store has to tell."""
        items, self.waiting = self.waiting, []
        for item in items:
            give_room(self._manager.budget, item.batch.data)
            item.pending.fail(failure)
