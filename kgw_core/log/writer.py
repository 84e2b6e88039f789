"""The writers carry what waits in the logs' queues into a store that has to wait.

A log has one append under way at a time. Where one ``append_many`` is one commit of the whole store,
writers take what waits in all logs into it: so one commit serves many partitions and connections, and the
slower the store is, the more goes into one, up to a size. Where each partition commits for itself, each log
that has something in its queue has a writer of its own, so that a slow partition holds up no other.

An append whose outcome is not known stays in flight until the log has found out; the store gets nothing else
of that log meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from kgw_core.coalescer import Coalescer
from kgw_core.spi.storage import Append, LogStore

if TYPE_CHECKING:
    from kgw_core.log.partition import PartitionLog

logger = logging.getLogger(__name__)

MAX_APPEND_BYTES = 8 << 20
"""What goes into one append, or one batch; the rest goes into the next. More would spare the store little,
and make those who wait, and its own upkeep between two, wait longer."""
LEAST = 32 << 10
"""As how many bytes a log counts there, however little it brings: a store writes a page for it, or so."""


class Writers:
    """Keeps appends under way: up to ``store.writers`` over all logs, or one for each log.

    ``answers``: those that one append brings about. ``spawn`` starts a coroutine that nobody waits for.
    """

    def __init__(
        self,
        store: LogStore,
        answers: Coalescer,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._store = store
        self._answers = answers
        self._spawn = spawn
        self._due: dict[PartitionLog, None] = {}
        self._writing: set[PartitionLog] = set()  # those that have a writer of their own now
        self._wake = anyio.Event()
        self._busy = 0
        self._unresolved = 0
        self._stopping = False
        self._ended = anyio.Event()

    def submit(self, log: PartitionLog) -> None:
        """``log`` has something in its queue."""
        if log.queue.in_flight:
            return
        if not log.kind.alone:
            self._due[log] = None
            self._wake.set()
        elif log not in self._writing:
            self._writing.add(log)
            self._spawn(self._write_log(log))

    async def run(self) -> None:
        """One writer over all logs that have none of their own; returns after :meth:`stop`, when nothing is
        left to write."""
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
        logs: list[PartitionLog] = []
        appends: list[Append] = []
        room = MAX_APPEND_BYTES
        while self._due and room > 0:
            # In turn the one that has been due the longest, so that none waits for ever, and the newest, so
            # that a single append does not stand behind thousands of another request.
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

    async def _write_log(self, log: PartitionLog) -> None:
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

    def _settle(self, log: PartitionLog, outcome: Sequence[int] | Exception) -> None:
        try:
            log.settle(outcome)
        except Exception:  # a fault of one log: the writer serves the others, too
            logger.exception("%s: an append could not be settled", log.tp)
        if log.queue.waiting and not log.kind.alone:
            self.submit(log)

    # -- appends whose outcome is not known

    def resolve(self, log: PartitionLog, error: Exception) -> None:
        """``error`` does not say what came of what is in flight in ``log``: let it find out, then go on."""
        self._unresolved += 1
        self._spawn(self._resolve(log, error))

    async def _resolve(self, log: PartitionLog, error: Exception) -> None:
        try:
            outcome = await log.look_for_flight(error)
            with self._answers:
                self._settle(log, outcome)
            if log.queue.waiting:
                self.submit(log)
        finally:
            self._unresolved -= 1
            self._end_if_idle()

    # -- the end

    async def finished(self) -> None:
        """Return when, after :meth:`stop`, nothing is left to write, and the outcome of all is known."""
        if not self._idle:
            await self._ended.wait()

    def stop(self) -> None:
        """Write what is queued, then let the writers end."""
        self._stopping = True
        self._wake.set()
