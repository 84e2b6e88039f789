"""Waiting fetches, as Kafka's DelayedOperationPurgatory: woken by appends, ended by their timeouts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from kgw_core.clock import Clock, Timer

Waiting: TypeAlias = "dict[WaitingFetch, None]"
"""The fetches that wait on one log. The garbage collector does not track an empty plain dict."""


def tell_appended(waiting: Waiting, size: int) -> None:
    """``size`` more bytes may be read."""
    for fetch in list(waiting):
        fetch.appended(size)


def tell_changed(waiting: Waiting) -> None:
    """The log has changed in another way: the fetches read again."""
    for fetch in list(waiting):
        fetch.changed()


class Watched(Protocol):
    """A log as a waiting fetch sees it."""

    waiting: Waiting


class WaitingFetch:
    """One fetch that found less than its ``min_bytes``.

    ``complete()`` is called once: when ``missing`` bytes have been appended to the logs it waits on, when
    a log changed in another way (deleted, trimmed), or when ``seconds`` are over.
    """

    __slots__ = ("_complete", "_logs", "_timer", "_wakes", "missing")

    def __init__(
        self,
        logs: Iterable[Watched],
        missing: int,
        seconds: float,
        complete: Callable[[], object],
        clock: Clock,
        wakes: Wakes,
    ) -> None:
        self.missing = missing
        self._logs = list(logs)
        self._complete: Callable[[], object] | None = complete
        self._wakes = wakes
        for log in self._logs:
            log.waiting[self] = None
        wakes.waiting[self] = None
        self._timer: Timer | None = clock.call_later(seconds, self.finish)

    def appended(self, size: int) -> None:
        """``size`` bytes were appended. The fetch is answered after this turn of the event loop."""
        self.missing -= size
        if self.missing <= 0:
            self._wakes.add(self)

    def changed(self) -> None:
        """A log has changed. The fetch is answered after this turn of the event loop."""
        self._wakes.add(self)

    def finish(self) -> None:
        """Answer now, with the available data."""
        complete = self._complete
        if self.leave() and complete is not None:
            complete()

    def leave(self) -> bool:
        """Stop waiting. Return False if the wait was over already."""
        timer, self._timer = self._timer, None
        if timer is None:
            return False
        timer.cancel()
        self._complete = None  # it refers to this object, and a cycle would be garbage
        for log in self._logs:
            log.waiting.pop(self, None)
        self._wakes.waiting.pop(self, None)
        return True


class Wakes:
    """Collects the fetches that appends have satisfied, and answers them once in a turn of the event loop.

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
