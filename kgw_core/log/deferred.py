"""Deferred appends: the log is being opened, or an earlier batch is being checked in a thread.

They are appended in the order of arrival, and before any later one. So no outcome is announced before all are
appended, as its receiver may append more at once.
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

Waiting: TypeAlias = tuple[memoryview, Pending[Appended] | None]
"""A batch and who waits for it, or the header of one that was refused."""


class Deferred:
    """The deferred appends of one log. ``looking``: they wait for a batch that is being checked; else for the
    log to open."""

    __slots__ = ("_budget", "_refused", "_waiting", "looking", "over")

    def __init__(self, budget: Budget, *, looking: bool) -> None:
        self.looking = looking
        self.over: Pending[None] = Pending()
        """Resolved when all were appended, or wait for the log's next obstacle."""
        self._budget = budget
        self._waiting: deque[Waiting] = deque()
        self._refused: dict[bytes, int] = {}  # sequences by producer, if no later batch of it came

    def add(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """Defer a batch. The Pending gets the outcome of its append. ``stable``: as for an append."""
        if not stable:
            data = memoryview(bytearray(data))
        pending: Pending[Appended] = Pending()
        self._waiting.append((data, pending))
        self._refused.pop(_producer(data), None)
        take_room(self._budget, data)
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

    def take(self) -> Iterable[Waiting]:
        """Remove and return all deferred appends."""
        waiting, self._waiting, self._refused = self._waiting, deque(), {}
        for data, pending in waiting:
            if pending is not None:
                give_room(self._budget, data)
        return waiting

    def append_all(
        self,
        append: Append,
        remember: Callable[[Iterable[memoryview]], object],
        line: Callable[[], Deferred | None],
        first: tuple[Pending[Appended], Outcome] | None = None,
    ) -> None:
        """Append all. ``first`` is the Pending of the batch before them with its outcome.

        ``remember(batches)`` is called for refused batches. ``line()`` returns the log's new Deferred if one
        of these appends makes the later ones wait again.
        """
        outcomes = [first] if first is not None else []
        behind = None
        while self._waiting and behind is None:
            data, waiter = self._waiting.popleft()
            if waiter is None:
                remember((data,))
                continue
            give_room(self._budget, data)
            outcomes.append((waiter, attempted(append, data)))
            behind = line()
        if behind is not None:
            behind._take_over(self)
        for pending, outcome in outcomes:
            _tell(pending, outcome)
        self.over.resolve(None)

    def _take_over(self, other: Deferred) -> None:
        """Move the appends of ``other`` behind those here."""
        if self._waiting:
            self._waiting.extend(other._waiting)
            other._waiting.clear()
        else:
            self._waiting, other._waiting = other._waiting, self._waiting
        self._refused.clear()


def fail(waiting: Iterable[Waiting], failure: KafkaError) -> None:
    """The log cannot be opened: tell those who waited."""
    for _, pending in waiting:
        if pending is not None:
            pending.fail(failure)


def attempted(append: Append, data: memoryview, looked: bool = False) -> Outcome:
    """The outcome of a deferred append."""
    try:
        return append(data, True, looked)
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
