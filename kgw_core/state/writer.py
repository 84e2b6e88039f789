"""One writer before a StateStore, so that what many ask for at the same time is one commit.

Whoever has changes submits them and is called back. Where the store never waits that happens at once, in
the caller's stack; else what comes while a commit is under way goes into the next one together. Changes
apply in the order in which they were submitted, and callbacks come in that order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from kgw_core.errors import KafkaError, KafkaStorageError
from kgw_core.spi.state import Changes, StateStore

logger = logging.getLogger(__name__)

MOST_CHANGES = 2_000
"""Keys that are put into one commit, unless one submission alone has more."""

RETRY_SECONDS = 0.5
"""Between looks at a store that cannot say what it has."""

Done = Callable[[Exception | None], object]
"""Called with None when the changes are there, else with the error for which they are not."""


class StateWriter:
    """Not thread-safe; all of it runs on the event loop. ``spawn`` starts a coroutine nobody waits for."""

    def __init__(self, store: StateStore, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self.store = store
        self.immediate = store.capabilities().immediate
        self.commits = 0
        """Commits made so far."""
        self._spawn = spawn
        self._queue: list[tuple[Changes, Done]] = []
        self._writing = False
        self._idle: anyio.Event | None = None

    def submit(self, changes: Changes, done: Done) -> None:
        """Commit ``changes``, then call ``done``."""
        if self.immediate:
            try:
                self.store.commit_now(changes)
            except Exception as error:
                done(error)
            else:
                self.commits += 1
                done(None)
            return
        self._queue.append((changes, done))
        if not self._writing:
            self._writing = True
            self._spawn(self._run())

    async def _run(self) -> None:
        try:
            while self._queue:
                await self._write(self._take())
        finally:
            self._writing = False
            if self._idle is not None:
                self._idle.set()

    def _take(self) -> list[tuple[Changes, Done]]:
        size = taken = 0
        for changes, _ in self._queue:
            size += len(changes)
            if taken and size > MOST_CHANGES:
                break
            taken += 1
        batch, self._queue = self._queue[:taken], self._queue[taken:]
        return batch

    async def _write(self, batch: list[tuple[Changes, Done]]) -> None:
        merged = batch[0][0]
        if len(batch) > 1:
            merged = {}
            for changes, _ in batch:
                merged.update(changes)
        outcome: Exception | None = None
        try:
            await self.store.commit(merged)
            self.commits += 1
        except KafkaError as error:
            outcome = error
        except Exception as error:
            outcome = await self._look(merged, error)
        for _, done in batch:
            try:
                done(outcome)
            except Exception:
                logger.exception("a listener of the state writer failed")

    async def _look(self, changes: Changes, error: Exception) -> Exception | None:
        """Whether a commit whose outcome is not known was done: None, or what to tell those who wait."""
        logger.error("the state store failed with an unknown outcome; looking what it has", exc_info=error)
        while True:
            try:
                for key, value in changes.items():
                    entry = await self.store.get(key)
                    if (entry.value if entry is not None else None) != value:
                        return KafkaStorageError(f"the state store failed: {error!r}")
                return None
            except Exception as again:
                logger.warning("the state store cannot say what it has: %r", again)
                await anyio.sleep(RETRY_SECONDS)

    async def drained(self) -> None:
        """Return when nothing that was submitted is left to write."""
        while self._writing:
            self._idle = anyio.Event()
            await self._idle.wait()
