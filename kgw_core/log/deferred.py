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

Waiting: TypeAlias = tuple[memoryview, Pending[Appended] | None]
"""A batch and who waits for it, or the header of one that was refused."""


class Deferred:
    """Those of one log. ``looking``: they wait for a batch that is looked into; else for the log to open."""

    __slots__ = ("_budget", "_refused", "_waiting", "looking", "over")

    def __init__(self, budget: Budget, *, looking: bool) -> None:
        self.looking = looking
        self.over: Pending[None] = Pending()
        """Resolved when all of them were appended, or wait behind what the log waits for next."""
        self._budget = budget
        self._waiting: deque[Waiting] = deque()
        self._refused: dict[bytes, int] = {}  # sequences by producer, where no batch of its came after that

    def add(self, data: memoryview, stable: bool) -> Pending[Appended]:
        """What comes of it is told when it was appended. ``stable``: as for an append."""
        if not stable:
            data = memoryview(bytearray(data))
        pending: Pending[Appended] = Pending()
        self._waiting.append((data, pending))
        self._refused.pop(_producer(data), None)
        take_room(self._budget, data)
        return pending

    def refuse(self, data: Buffer) -> None:
        """A batch was refused with a retriable error. That is remembered in its turn: when those before it
        are appended, and before those that come after it."""
        if len(data) < HEADER_SIZE:
            return
        header = memoryview(bytes(data[:HEADER_SIZE]))
        producer, sequence = _producer(header), int.from_bytes(header[53:57], "big", signed=True)
        known = self._refused.get(producer)
        if known is None or comes_before(sequence, known):
            self._refused[producer] = sequence
            self._waiting.append((header, None))

    def take(self) -> Iterable[Waiting]:
        """All of them: they wait here no more."""
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
        """They need not wait any more. ``first``: who waits for the batch before them, and its outcome.

        ``remember(batches)`` is told of those that were refused. ``line()`` is what the log's appends wait in
        by then, where one of these makes those after it wait again.
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
        """What waits in ``other`` came before all that comes from now on, and after what is here."""
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
    """What came of an append that had to wait."""
    try:
        return append(data, True, looked)
    except Exception as error:
        return error


def _producer(data: Buffer) -> bytes:
    """Its id and epoch."""
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
