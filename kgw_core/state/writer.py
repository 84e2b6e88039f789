"""The writer in front of a StateStore: joins concurrent changes into one commit, and fences late commits.

Callers submit changes and are called back. If the store is immediate, that happens at once. Else all changes
that come during a commit go into the next one. Changes apply, and callbacks come, in the order of submission.

Each commit also writes the writer's fence, a key of its own, and expects the version that the last commit
gave it. So the store refuses a commit that is late, or of an earlier writer: it can never overwrite a newer
one. If the outcome of a commit is unknown, the writer moves the fence. If that succeeds, the commit can no
longer be applied. If the fence has moved already, its value tells whose commit that was. Until the store
answers, no caller gets an answer.
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
"""The most keys of one commit, unless one submission alone has more."""

MOST_BYTES = 8 << 20
"""The most bytes of keys and values of one commit, unless one submission alone has more."""

RETRY_SECONDS = 0.5
"""The pause between two attempts to resolve a commit."""

FENCES = b"fences/"
"""The prefix of the writers' fences."""

Done = Callable[[Exception | None], object]
"""Called with None when the changes are committed, else with the error."""


class StateWriter:
    """Not thread-safe; it runs on the event loop. ``spawn`` starts a coroutine that nobody waits for.

    ``name`` names the fence; each room that writes has its own writer and name. With ``background``, its
    Health shows a commit whose outcome is unknown.
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
        self._version: int | None = None  # of the fence; None until it is taken
        self._id = uuid4().bytes
        self._moves = 0
        self._lost: NotCoordinator | None = None
        self._queue: list[tuple[Changes, Done]] = []
        self._writing = False
        self._idle: anyio.Event | None = None

    @property
    def lost(self) -> bool:
        """Whether another writer has taken the fence. Nothing more is written until :meth:`take_over`."""
        return self._lost is not None

    async def take_over(self, *, lazily: bool = False) -> None:
        """Take the fence, so that commits in flight of another writer (such as a killed gateway's) are
        refused. Reads after this see the final state.

        ``lazily``: if the state can be read but not written (a full disk), the first commit takes the fence.
        It is refused if another writer has moved the fence since.

        :raises KafkaError: the fence cannot be taken now.
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
                continue  # another writer moved it in between; the last one to move it has it
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
        """Return when ``changes`` are committed. :raises Exception: they are not."""
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
        except Exception as error:  # every caller gets an answer, also after a fault here
            logger.exception("the state writer failed")
            outcome = error
        for _, done in batch:
            try:
                done(outcome)
            except Exception:
                logger.exception("a listener of the state writer failed")

    async def _commit(self, changes: dict[bytes, bytes | None]) -> Exception | None:
        """Commit ``changes``. Return None, or the error if they are not committed and never will be."""
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
        """The outcome of a commit that failed with an unknown one. ``value`` is its value of the fence."""
        logger.error("the state store failed, and may have written; asking it", exc_info=error)
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
        """A unique value for the fence."""
        self._moves += 1
        return self._id + self._moves.to_bytes(8, "big")

    def _fenced(self, conflict: VersionConflict) -> NotCoordinator:
        logger.error(
            "another gateway has taken over this state (%s); nothing is written to it until it is taken back",
            conflict,
        )
        self._lost = NotCoordinator("another gateway has taken over this state")
        return self._lost

    async def drained(self) -> None:
        """Return when all submitted changes are written."""
        while self._writing:
            self._idle = anyio.Event()
            await self._idle.wait()
