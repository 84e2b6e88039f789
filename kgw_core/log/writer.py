"""The writers append the batches in the logs' queues to a store that has to wait.

A log has one append in flight at a time. If one ``append_many`` is one commit of the whole store, a writer
takes the waiting batches of all logs into it. So one commit serves many partitions and connections, and a
slower store gets larger commits, up to a limit. If each partition commits for itself, each log with a queue
has its own writer, so that a slow partition delays no other.

An append with an unknown outcome stays in flight until the log has resolved it. Until then the store gets no
other append of that log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import anyio

from kgw_core.background import Background, Tries
from kgw_core.coalescer import Coalescer
from kgw_core.errors import KafkaError
from kgw_core.log.append_queue import AppendQueue
from kgw_core.log.kind import LogKind
from kgw_core.spi.storage import Append, LogStore, TopicPartition

logger = logging.getLogger(__name__)

MAX_APPEND_BYTES = 8 << 20
"""The most bytes of one append, or one batch. More would save the store little, and delay the waiting
requests and the store's own upkeep between two appends."""
LEAST = 32 << 10
"""A log counts for at least this many bytes of an append, as a store writes about a page for it."""


class WrittenLog(Protocol):
    """A log as its writer sees it."""

    tp: TopicPartition
    kind: LogKind
    queue: AppendQueue
    high_watermark: int
    leader_epoch: int

    def settle(self, answer: Sequence[int] | Exception) -> Exception | None:
        """Settle the append in flight with the answer of the store. Return the error that leaves its outcome
        unknown, or None."""

    async def resolved(self, error: Exception) -> Sequence[int] | Exception:
        """The outcome of the append in flight, which ``error`` leaves unknown."""


class Writers:
    """Keeps appends in flight: up to ``store.writers`` over all logs, or one for each log.

    ``answers`` coalesces the answers of one append. ``spawn`` starts a coroutine that nobody waits for.
    """

    def __init__(
        self,
        store: LogStore,
        answers: Coalescer,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        background: Background,
    ) -> None:
        self.late = False
        """Whether the store has not answered an append in time, and has answered none since."""
        self._storing = Tries("storing what is appended", background)
        self._store = store
        self._answers = answers
        self._spawn = spawn
        self._due: dict[WrittenLog, None] = {}
        self._writing: set[WrittenLog] = set()  # logs whose own writer runs now
        self._wake = anyio.Event()
        self._busy = 0
        self._unresolved = 0
        self._stopping = False
        self._ended = anyio.Event()

    def submit(self, log: WrittenLog) -> None:
        """The queue of ``log`` has batches."""
        if log.queue.in_flight:
            return
        if not log.kind.own_writer:
            self._due[log] = None
            self._wake.set()
        elif log not in self._writing:
            self._writing.add(log)
            self._spawn(self._write_log(log))

    async def run(self) -> None:
        """Run one writer for all logs without their own. It returns after :meth:`stop`, when all is
        written."""
        while not (self._stopping and self._idle):
            if not self._due:
                self._wake = anyio.Event() if self._wake.is_set() else self._wake
                await self._wake.wait()
                continue
            self._busy += 1
            try:
                await self._write()
            finally:
                self._busy -= 1
        self._end_if_idle()

    @property
    def _idle(self) -> bool:
        return not (self._due or self._busy or self._writing or self._unresolved)

    def _end_if_idle(self) -> None:
        if self._stopping and self._idle:
            self._ended.set()
            self._wake.set()  # the other writers end, too

    async def _write(self) -> None:
        logs: list[WrittenLog] = []
        appends: list[Append] = []
        room = MAX_APPEND_BYTES
        while self._due and room > 0:
            # The log that has been due the longest and the newest one take turns. So no log waits for ever,
            # and a single append does not wait for the thousands of another request.
            log = next(reversed(self._due) if len(logs) & 1 else iter(self._due))
            del self._due[log]
            if log.queue.waiting and not log.queue.in_flight:
                flight = log.queue.depart(room, log.high_watermark)
                room -= max(flight.size, LEAST)
                logs.append(log)
                appends.append(Append(log.tp, flight.batches, log.leader_epoch))
        if not logs:
            return
        outcomes: list[Sequence[int] | Exception]
        try:
            outcomes = await self._store.append_many(appends)
            if len(outcomes) != len(appends):
                raise RuntimeError(f"store gave {len(outcomes)} outcomes for {len(appends)} appends")
        except Exception as error:
            outcomes = [error] * len(appends)
        with self._answers:
            for log, outcome in zip(logs, outcomes, strict=True):
                self._settle(log, outcome)

    async def _write_log(self, log: WrittenLog) -> None:
        try:
            while log.queue.waiting and not log.queue.in_flight:
                flight = log.queue.depart(MAX_APPEND_BYTES, log.high_watermark)
                try:
                    outcome: Sequence[int] | Exception = await self._store.append(
                        log.tp, flight.batches, log.leader_epoch
                    )
                except Exception as error:
                    outcome = error
                with self._answers:
                    self._settle(log, outcome)
        finally:
            self._writing.discard(log)
            self._end_if_idle()

    def _settle(self, log: WrittenLog, outcome: Sequence[int] | Exception) -> None:
        try:
            unknown = log.settle(outcome)
            if unknown is not None:
                self.resolve(log, unknown)
        except Exception:  # a fault of one log: the writer continues with the others
            logger.exception("%s: an append could not be settled", log.tp)
        if log.queue.waiting and not log.kind.own_writer:
            self.submit(log)

    # -- appends with an unknown outcome

    def resolve(self, log: WrittenLog, error: Exception) -> None:
        """``error`` leaves the outcome of the append in flight unknown: let the log resolve the outcome, and
        then go on."""
        self._unresolved += 1
        self._spawn(self._resolve(log, error))

    async def _resolve(self, log: WrittenLog, error: Exception) -> None:
        try:
            outcome = await log.resolved(error)
            with self._answers:
                self._settle(log, outcome)
            if log.queue.waiting:
                self.submit(log)
        finally:
            self._unresolved -= 1
            self._end_if_idle()

    # -- appends that take too long

    def overdue(self, tp: TopicPartition, error: KafkaError) -> None:
        """The store has not answered an append to the log before a request's timeout."""
        self.late = True
        self._storing.failed(type(error)(f"{tp}: {error}"))

    def in_time(self) -> None:
        """The store has answered an append."""
        self.late = False
        self._storing.succeeded()

    # -- the end

    async def finished(self) -> None:
        """Return after :meth:`stop`, when all is written and all outcomes are known."""
        if not self._idle:
            await self._ended.wait()

    def stop(self) -> None:
        """Let the writers end when all queues are written."""
        self._stopping = True
        self._wake.set()
