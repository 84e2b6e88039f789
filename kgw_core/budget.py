"""The memory that all requests together may take, and the queue of those that wait for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio

Resume = Callable[[], object]


SMALL: Final = 64
"""A claim of at most the limit divided by this is a small one."""


class Budget:
    """Counts the bytes of requests that are not answered: frames that have begun or wait, and queued appends.

    A holder of bytes stops taking more while :attr:`over`. A large frame waits for its bytes (:meth:`claim`).
    :meth:`take` counts bytes that are in memory already, so it never fails. Past :attr:`most` every
    connection stops reading (``on_exhausted``), and appends that can be refused are refused. Not thread-safe.
    """

    __slots__ = ("_claims", "_notified", "_paused", "limit", "most", "on_exhausted", "used")

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        self.most: Final = limit + limit // 4
        self.used = 0
        self.on_exhausted: Callable[[], object] | None = None
        """Called when :attr:`used` passes :attr:`most`, once until there is room again."""
        self._notified = False
        self._claims: dict[Resume, int] = {}
        self._paused: dict[Resume, None] = {}

    @property
    def over(self) -> bool:
        """Whether holders of bytes should take no more."""
        return self.used >= self.limit or bool(self._claims)

    @property
    def exhausted(self) -> bool:
        """Whether nobody should take more. Clients that were stopped may have opened other connections."""
        return self.used > self.most

    @property
    def contended(self) -> bool:
        """Whether a claim waits."""
        return bool(self._claims)

    def take(self, size: int) -> None:
        """Count ``size`` more bytes."""
        self.used += size
        if self.used > self.most and not self._notified:
            self._notified = True
            if self.on_exhausted is not None:
                self.on_exhausted()

    def give(self, size: int) -> None:
        """Give ``size`` bytes back. Claims and pauses end as far as there is room."""
        self.used -= size
        if self._claims or self._paused or self._notified:
            self._go_on()

    def claim(self, size: int, granted: Resume) -> bool:
        """Take ``size`` bytes if there is room. Else return False, and take them and call ``granted()``
        later, in the order of the claims. A small claim does not wait behind large ones: it has room up to
        :attr:`most`."""
        if (not self._claims and (self.used + size <= self.limit or not self.used)) or self._slips_in(size):
            self.used += size
            return True
        self._claims[granted] = size
        return False

    def _slips_in(self, size: int) -> bool:
        return size <= self.limit // SMALL and self.used + size <= self.most

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Wait for ``size`` bytes, and hold them within the block."""
        turn = anyio.Event()
        if not self.claim(size, turn.set):
            try:
                await turn.wait()
            except BaseException:
                if not self.forget(turn.set):  # the claim was granted just now
                    self.give(size)
                raise
        try:
            yield
        finally:
            self.give(size)

    def pause(self, resume: Resume) -> None:
        """Call ``resume()`` when the budget is no longer :attr:`over`."""
        self._paused[resume] = None

    def forget(self, waiting: Resume) -> bool:
        """Cancel the claim or pause of ``waiting``. Return whether it was a claim."""
        self._paused.pop(waiting, None)
        if self._claims.pop(waiting, None) is None:
            return False
        self._go_on()  # a later claim may fit
        return True

    def _go_on(self) -> None:
        if self.used <= self.limit:
            self._notified = False
        claims = self._claims
        while claims:
            granted, size = next(iter(claims.items()))
            if self.used + size > self.limit and self.used > 0:
                found = next((each for each in claims.items() if self._slips_in(each[1])), None)
                if found is None:
                    return
                granted, size = found
            del claims[granted]
            self.used += size
            granted()
        while self._paused and not self.over:
            resume = next(iter(self._paused))
            del self._paused[resume]
            resume()


UNLIMITED: Final = 2**62
