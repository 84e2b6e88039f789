"""One writer before a StateStore, so that what many ask for at the same time is one commit.

Whoever has changes submits them and is called back. Where the store never waits that happens at once, in
the caller's stack; else what comes while a commit is under way goes into the next one together. Changes
apply in the order in which they were submitted, and callbacks come in that order.

Each commit also writes the writer's fence, a key of its own, and expects the version that the commit before
gave it. So a commit that is late, or of a writer before this one, is refused by the store: it can never land
over a newer one. Where the outcome of a commit is not known, the writer moves the fence. Either that
succeeds, and the commit can no more land; or the fence has moved already, and its value tells whose commit
that was. Until the store says which, nobody is answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import anyio

from kgw_core.background import Background, Tries
from kgw_core.errors import KafkaError, KafkaStorageError, NotCoordinator
from kgw_core.pending import Pending
from kgw_core.spi.state import ABSENT, Changes, StateStore, VersionConflict

logger = logging.getLogger(__name__)

MOST_CHANGES = 2_000
"""Keys that are put into one commit, unless one submission alone has more."""

MOST_BYTES = 8 << 20
"""Bytes of keys and values that are put into one commit, unless one submission alone has more."""

RETRY_SECONDS = 0.5
"""Between two questions to a store that cannot say what it has."""

FENCES = b"fences/"
"""The prefix of the writers' fences."""

Done = Callable[[Exception | None], object]
"""Called with None when the changes are there, else with the error for which they are not."""


class StateWriter:
    """Not thread-safe; all of it runs on the event loop. ``spawn`` starts a coroutine nobody waits for.

    ``name`` is what the writer's fence is called: one for each room that writes through a writer. With
    ``background`` a commit whose outcome is not known stands in its Health.
    """

    def __init__(
        self,
        store: StateStore,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        name: str = "state",
        background: Background | None = None,
    ) -> None:
        self.store = store
        self._tries = Tries(f"finding out what was committed of {name}", background) if background else None
        self.immediate = store.capabilities().immediate
        self.commits = 0
        """Commits made so far."""
        self._spawn = spawn
        self._fence = FENCES + name.encode()
        self._version: int | None = None  # of the fence; not known before it is taken
        self._id = uuid4().bytes
        self._moves = 0
        self._lost: NotCoordinator | None = None
        self._queue: list[tuple[Changes, Done]] = []
        self._writing = False
        self._idle: anyio.Event | None = None

    async def take_over(self, *, lazily: bool = False) -> None:
        """Take the fence: what another writer has under way, such as one of a gateway that was killed, can no
        more land. What is read after this is what there is.

        ``lazily``: where the state can be read and not written (a full disk), the first commit takes the
        fence; it is refused if another writer has moved it since.

        :raises KafkaError: not now.
        """
        if self.immediate:
            return
        while True:
            try:
                entry = await self.store.get(self._fence)
                found = entry.version if entry is not None else ABSENT
                try:
                    self._version = await self.store.commit({self._fence: self._next()}, {self._fence: found})
                except KafkaError as error:
                    if not lazily:
                        raise
                    logger.warning("the state can be read, and cannot be written: %s", error)
                    self._version = found
            except VersionConflict:
                continue  # it was moved between the two; whoever moves it last has it
            except KafkaError:
                raise
            except Exception as error:
                raise KafkaStorageError(f"the state store failed: {error!r}") from error
            self._lost = None
            return

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

    async def committed(self, changes: Changes) -> None:
        """Return when ``changes`` are there. :raises Exception: why they are not."""
        outcome: Pending[None] = Pending()
        self.submit(changes, lambda error: outcome.resolve(None) if error is None else outcome.fail(error))
        await outcome.wait()

    async def _run(self) -> None:
        try:
            while self._queue:
                await self._write(self._take())
        finally:
            self._writing = False
            if self._idle is not None:
                self._idle.set()

    def _take(self) -> list[tuple[Changes, Done]]:
        count = size = taken = 0
        for changes, _ in self._queue:
            count += len(changes)
            size += sum(len(key) + len(value or b"") for key, value in changes.items())
            if taken and (count > MOST_CHANGES or size > MOST_BYTES):
                break
            taken += 1
        batch, self._queue = self._queue[:taken], self._queue[taken:]
        return batch

    async def _write(self, batch: list[tuple[Changes, Done]]) -> None:
        merged: dict[bytes, bytes | None] = {}
        for changes, _ in batch:
            merged.update(changes)
        try:
            outcome = self._lost or await self._commit(merged)
        except Exception as error:  # a fault here must not leave anybody without an answer
            logger.exception("the state writer failed")
            outcome = error
        for _, done in batch:
            try:
                done(outcome)
            except Exception:
                logger.exception("a listener of the state writer failed")

    async def _commit(self, changes: dict[bytes, bytes | None]) -> Exception | None:
        """None when ``changes`` are there, else why they are not and will never be."""
        try:
            if self._version is None:
                await self.take_over()
        except KafkaError as error:
            return error
        assert self._version is not None
        value = changes[self._fence] = self._next()
        try:
            self._version = await self.store.commit(changes, {self._fence: self._version})
        except KafkaError as error:
            return error
        except VersionConflict as conflict:
            return self._fenced(conflict)
        except Exception as error:
            return await self._resolve(value, error)
        self.commits += 1
        return None

    async def _resolve(self, value: bytes, error: Exception) -> Exception | None:
        """What came of a commit whose outcome is not known; ``value`` is what it wrote to the fence."""
        logger.error("the state store failed, and may have written all the same; asking it", exc_info=error)
        refused = KafkaStorageError(f"the state store failed: {error!r}")
        assert self._version is not None
        move = self._next()
        while True:
            try:
                outcome: Exception | None = refused
                try:
                    self._version = await self.store.commit({self._fence: move}, {self._fence: self._version})
                except VersionConflict as conflict:
                    entry = await self.store.get(self._fence)
                    if entry is None or entry.value not in (value, move):
                        outcome = self._fenced(conflict)
                    else:
                        self._version = entry.version
                        if entry.value == value:
                            self.commits += 1
                            outcome = None
            except Exception as again:
                if self._tries is not None:
                    self._tries.failed(again)
                await anyio.sleep(RETRY_SECONDS)
            else:
                if self._tries is not None:
                    self._tries.succeeded()
                return outcome

    def _next(self) -> bytes:
        """A value for the fence that is written once."""
        self._moves += 1
        return self._id + self._moves.to_bytes(8, "big")

    def _fenced(self, conflict: VersionConflict) -> NotCoordinator:
        logger.error(
            "another gateway has taken over this state (%s); nothing more is written to it", conflict
        )
        self._lost = NotCoordinator("another gateway has taken over this state")
        return self._lost

    async def drained(self) -> None:
        """Return when nothing that was submitted is left to write."""
        while self._writing:
            self._idle = anyio.Event()
            await self._idle.wait()
