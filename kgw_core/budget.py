"""How much memory requests may take in all, whoever asks, and who waits until there is room again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio

Resume = Callable[[], object]


SMALL: Final = 64
"""A claim of at most this part of the limit is a small one."""


class Budget:
    """Bytes of requests that were read and are not done: begun frames, frames that wait, queued appends.

    Whoever holds some may be asked to stop taking more (:attr:`over`); whoever needs much at once takes a
    turn (:meth:`claim`). Neither is about bytes that are there already: :meth:`take` always takes. Past
    :attr:`most`, everybody is asked to stop (``on_exhausted``), and what can be refused is. Not thread-safe.
    """

    __slots__ = ("_claims", "_paused", "_told", "limit", "most", "on_exhausted", "used")

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        self.most: Final = limit + limit // 4
        self.used = 0
        self.on_exhausted: Callable[[], object] | None = None
        """Called when :attr:`used` passes :attr:`most`, once until there is room again."""
        self._told = False
        self._claims: dict[Resume, int] = {}
        self._paused: dict[Resume, None] = {}

    @property
    def over(self) -> bool:
        """Whether those that hold some should take no more."""
        return self.used >= self.limit or bool(self._claims)

    @property
    def exhausted(self) -> bool:
        """Whether nothing more can be kept, as those that should have stopped came back as others."""
        return self.used > self.most

    @property
    def contended(self) -> bool:
        """Whether somebody waits for a turn."""
        return bool(self._claims)

    def take(self, size: int) -> None:
        """``size`` bytes more are held."""
        self.used += size
        if self.used > self.most and not self._told:
            self._told = True
            if self.on_exhausted is not None:
                self.on_exhausted()

    def give(self, size: int) -> None:
        """``size`` bytes are held no more; those that wait go on, as far as there is room."""
        self.used -= size
        if self._claims or self._paused or self._told:
            self._go_on()

    def claim(self, size: int, granted: Resume) -> bool:
        """Take ``size`` bytes if there is room; else return False, and take them and call ``granted()`` when
        there is, in the order of the claims. Small ones do not stand behind large ones: for them there is
        room up to :attr:`most`."""
        if (not self._claims and (self.used + size <= self.limit or not self.used)) or self._slips_in(size):
            self.used += size
            return True
        self._claims[granted] = size
        return False

    def _slips_in(self, size: int) -> bool:
        return size <= self.limit // SMALL and self.used + size <= self.most

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Hold ``size`` bytes within the block, waiting for a turn before it."""
        turn = anyio.Event()
        if not self.claim(size, turn.set):
            try:
                await turn.wait()
            except BaseException:
                if not self.forget(turn.set):  # it was granted just now
                    self.give(size)
                raise
        try:
            yield
        finally:
            self.give(size)

    def pause(self, resume: Resume) -> None:
        """Call ``resume()`` when it is not :attr:`over` any more."""
        self._paused[resume] = None

    def forget(self, waiting: Resume) -> bool:
        """Call ``waiting`` no more; return whether it was to be granted a claim."""
        self._paused.pop(waiting, None)
        if self._claims.pop(waiting, None) is None:
            return False
        self._go_on()  # what was asked for behind it may fit
        return True

    def _go_on(self) -> None:
        if self.used <= self.limit:
            self._told = False
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
