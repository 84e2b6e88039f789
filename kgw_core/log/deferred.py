"""Appends that a log cannot take yet: it is being opened, or a batch before them is looked into in a thread.

They are appended in the order in which they came, and before any that comes later. So none is told what came
of it before all are appended: who is told may append more at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from kgw_core.budget import Budget
from kgw_core.errors import KafkaError
from kgw_core.log.producers import Appended
from kgw_core.log.refused import comes_before
from kgw_core.log.room import give_room, take_room
from kgw_core.pending import Pending
from kgw_core.records.batch import HEADER_SIZE
from kgw_core.spi.storage import Buffer

Append: TypeAlias = Callable[[memoryview, bool, bool], Appended | Pending[Appended]]
"""``append(data, stable, looked)`` of a log."""

Outcome: TypeAlias = Appended | Pending[Appended] | Exception


class Deferred:
    """Those of one log. ``looking``: they wait for a batch that is looked into; else for the log to open."""

    __slots__ = ("_budget", "_waiting", "looking", "refused")

    def __init__(self, budget: Budget, *, looking: bool) -> None:
        self.looking = looking
        self._budget = budget
        self._waiting: deque[tuple[memoryview, Pending[Appended]]] = deque()
        self.refused: dict[bytes, memoryview] = {}
        """Headers of the batches that were refused behind those that wait, the earliest of each producer."""

    def add(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """What comes of it is told when it was appended. ``stable``: as for an append."""
        if not stable:
            data = memoryview(bytearray(data))
        pending: Pending[Appended] = Pending()
        self._waiting.append((data, pending))
        take_room(self._budget, data)
        return pending

    def refuse(self, data: Buffer) -> None:
        """A batch was refused with a retriable error. Those that wait came before it: it is remembered as
        refused when they are appended, not earlier."""
        if len(data) >= HEADER_SIZE:
            header = memoryview(bytes(data[:HEADER_SIZE]))
            producer = bytes(header[43:53])  # its id and epoch
            known = self.refused.get(producer)
            if known is None or comes_before(_sequence(header), _sequence(known)):
                self.refused[producer] = header

    def waiting(self) -> list[memoryview]:
        """The batches that wait, in order."""
        return [data for data, _ in self._waiting]

    def append_all(
        self,
        append: Append,
        remember: Callable[[Iterable[memoryview]], object],
        line: Callable[[], Deferred | None],
        first: tuple[Pending[Appended], Outcome] | None = None,
    ) -> None:
        """They need not wait any more. ``first``: who waits for the batch before them, and its outcome.

        ``remember(batches)`` is told of those that were refused behind them. ``line()`` is what the log's
        appends wait in by then, where one of these makes those after it wait again.
        """
        outcomes = [first] if first is not None else []
        behind = None
        while self._waiting and behind is None:
            data, pending = self._waiting.popleft()
            give_room(self._budget, data)
            outcomes.append((pending, attempted(append, data)))
            behind = line()
        if behind is None:
            remember(self.refused.values())
        else:
            behind._take_over(self)
        for pending, outcome in outcomes:
            _tell(pending, outcome)

    def _take_over(self, other: Deferred) -> None:
        """What waits in ``other`` came before all that comes from now on, and after what is here."""
        if self._waiting:
            self._waiting.extend(other._waiting)
            other._waiting.clear()
        else:
            self._waiting, other._waiting = other._waiting, self._waiting
        for header in other.refused.values():
            self.refuse(header)

    def fail(self, failure: KafkaError) -> None:
        """The log cannot be opened."""
        waiting, self._waiting = self._waiting, deque()
        for data, pending in waiting:
            give_room(self._budget, data)
            pending.fail(failure)


def attempted(append: Append, data: memoryview, looked: bool = False) -> Outcome:
    """What came of an append that had to wait."""
    try:
        return append(data, True, looked)
    except Exception as error:
        return error


def _sequence(header: memoryview) -> int:
    return int.from_bytes(header[53:57], "big", signed=True)


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
