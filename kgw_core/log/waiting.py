"""Kafka's DelayedOperationPurgatory, for fetches: appends wake them, and timeouts end their wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, Protocol, TypeAlias

from kgw_core.clock import Clock, Timer

AT_ONCE: Final = 500
"""Logs that a fetch leaves before the event loop serves others."""


class Watcher(Protocol):
    """Watches logs, as a waiting fetch does. ``key`` is the object that it has put into :data:`Waiting`."""

    def appended(self, size: int, key: Any) -> None:
        """``size`` more bytes may be read."""

    def changed(self, key: Any) -> None:
        """The log has changed in another way, such as by a trim: it has to be read again."""

    def closed(self, key: Any) -> None:
        """The log is not ready any more. The next read opens it."""


Waiting: TypeAlias = "dict[Watcher, Any]"
"""The watchers of one log, each with a key of its own. The garbage collector does not track an empty plain
dict."""


def tell_appended(waiting: Waiting, size: int) -> None:
    """``size`` more bytes may be read."""
    for watcher, key in list(waiting.items()):
        watcher.appended(size, key)


def tell_changed(waiting: Waiting) -> None:
    """The log has changed in another way: the fetches read again."""
    for watcher, key in list(waiting.items()):
        watcher.changed(key)


def tell_closed(waiting: Waiting) -> None:
    """The log is not ready any more. Nobody is woken: an answer would say nothing new."""
    for watcher, key in list(waiting.items()):
        watcher.closed(key)


class Watched(Protocol):
    """A log as a waiting fetch sees it."""

    waiting: Waiting


class WaitingFetch:
    """One fetch that found less than its ``min_bytes``.

    ``complete()`` is called once: when ``missing`` bytes have been appended to the logs it waits on, when
    a log changed in another way (deleted, trimmed), or when ``seconds`` are over.
    """

    __slots__ = ("_complete", "_logs", "_purgatory", "_timer", "missing")

    def __init__(
        self,
        logs: Iterable[Watched],
        missing: int,
        seconds: float,
        complete: Callable[[], object],
        clock: Clock,
        purgatory: FetchPurgatory,
    ) -> None:
        self.missing = missing
        self._logs: list[Watched] = list(logs)
        self._complete: Callable[[], object] | None = complete
        self._purgatory = purgatory
        for log in self._logs:
            log.waiting[self] = None
        purgatory.waiting[self] = None
        self._timer: Timer | None = clock.call_later(seconds, self.finish)

    @property
    def over(self) -> bool:
        """Whether the wait is over."""
        return self._timer is None

    def watch(self, log: Watched) -> None:
        """Wait on this log, too."""
        if self._timer is not None and self not in log.waiting:
            log.waiting[self] = None
            self._logs.append(log)

    def watching(self, logs: Iterable[Watched]) -> Generator[None, None, None]:
        """:meth:`watch` each of very many logs, in steps."""
        for log in logs:
            self.watch(log)
            yield

    def appended(self, size: int, key: None = None) -> None:
        """``size`` bytes were appended. The fetch is answered after this turn of the event loop."""
        self.missing -= size
        if self.missing <= 0:
            self._purgatory.add(self)

    def changed(self, key: None = None) -> None:
        """A log has changed. The fetch is answered after this turn of the event loop."""
        self._purgatory.add(self)

    def closed(self, key: None = None) -> None:
        """A log was closed. The fetch goes on to wait."""

    def finish(self) -> None:
        """Answer now, with the available data."""
        complete = self._complete
        if self.leave() and complete is not None:
            complete()

    def leave(self) -> bool:
        """Stop waiting. Return False if the wait was over already. Very many logs are left in steps."""
        timer, self._timer = self._timer, None
        if timer is None:
            return False
        timer.cancel()
        self._complete = None  # it refers to this object, and a cycle would be garbage
        self._purgatory.waiting.pop(self, None)
        self._leave_logs()
        return True

    def _leave_logs(self) -> None:
        logs = self._logs
        for log in logs[: -AT_ONCE - 1 : -1]:
            log.waiting.pop(self, None)
        del logs[-AT_ONCE:]
        if logs:
            asyncio.get_running_loop().call_soon(self._leave_logs)


class FetchPurgatory:
    """All fetches that wait. Those that appends have satisfied are answered once in a turn of the event loop.

    So the producer's own answer leaves first, and the data of several producers in one turn leaves together.
    """

    __slots__ = ("_due", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[WaitingFetch, None] = {}
        self._due: dict[WaitingFetch, None] = {}

    def add(self, fetch: WaitingFetch) -> None:
        if not self._due:
            asyncio.get_running_loop().call_soon(self._run)
        self._due[fetch] = None

    def finish_all(self) -> None:
        """Answer every waiting fetch with the available data."""
        for fetch in list(self.waiting):
            fetch.finish()

    def _run(self) -> None:
        due, self._due = self._due, {}
        for fetch in due:
            fetch.finish()
