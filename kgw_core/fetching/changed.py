"""The parts of a large fetch session that have to be read, so that a fetch does not visit all others.

A part with nothing to read or to send is put aside, and this object watches its log. When the log tells of
any change, the part has to be read again. So a part is always in one of two places: among ``parts``, or
watched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from kgw_core.fetching.part import Part
from kgw_core.log.waiting import WaitingFetch

AT_ONCE: Final = 500
"""Logs that are left before the event loop serves others, when the session ends."""


class Changed:
    """Of one session. ``parts`` are in the order of reading; ``fetch`` is the fetch that waits."""

    __slots__ = ("_over", "fetch", "parts")

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = dict.fromkeys(parts)
        self.fetch: WaitingFetch | None = None
        self._over = False

    def put_aside(self, part: Part) -> None:
        """There is nothing to read, as :meth:`Part.is_idle` says at this moment."""
        if part.log is not None and part in self.parts and not self._over:
            del self.parts[part]
            part.log.waiting[self] = part

    def put_back(self, part: Part) -> None:
        """The part is new, or has to be read again."""
        self._leave(part)
        if not self._over:
            self.parts[part] = None

    def put_last(self, part: Part) -> None:
        """Others are read before it."""
        if part in self.parts:
            del self.parts[part]
            self.parts[part] = None

    def remove(self, part: Part) -> None:
        """The part is not in the session any more."""
        self._leave(part)
        self.parts.pop(part, None)

    def _leave(self, part: Part) -> None:
        if part.log is not None:
            part.log.waiting.pop(self, None)

    def end(self, parts: Iterable[Part]) -> None:
        """The session, which has ``parts``, is over. Leave all logs, in steps if they are many. A fetch that
        waits is answered, as it would not be woken any more."""
        self._over = True
        self.parts = {}
        self._leave_some(list(parts))
        if self.fetch is not None and not self.fetch.over:
            self.fetch.changed()

    def _leave_some(self, parts: list[Part]) -> None:
        for part in parts[: -AT_ONCE - 1 : -1]:
            self._leave(part)
        del parts[-AT_ONCE:]
        if parts:
            asyncio.get_running_loop().call_soon(self._leave_some, parts)

    # -- told by the logs

    def appended(self, size: int, part: Part) -> None:
        self.closed(part)
        if self.fetch is not None:
            self.fetch.appended(size)

    def changed(self, part: Part) -> None:
        self.closed(part)
        if self.fetch is not None:
            self.fetch.changed()

    def closed(self, part: Part) -> None:
        self.put_back(part)
        fetch = self.fetch
        if fetch is not None and part.log is not None:
            if fetch.over:
                self.fetch = None
            else:
                fetch.watch(part.log)  # this object no longer reports its changes
