"""How much memory requests may take in all, whoever asks, and who waits until there is room again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

Resume = Callable[[], object]


class Budget:
    """Bytes of requests that were read and are not done: begun frames, frames that wait, queued appends.

    Whoever holds some may be asked to stop taking more (:attr:`over`); whoever needs much at once takes a
    turn (:meth:`claim`). Neither is about bytes that are there already: :meth:`take` always takes. Not
    thread-safe.
    """

    __slots__ = ("_claims", "_paused", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        self.used = 0
        self._claims: dict[Resume, int] = {}
        self._paused: dict[Resume, None] = {}

    @property
    def over(self) -> bool:
        """Whether those that hold some should take no more."""
        return self.used >= self.limit or bool(self._claims)

    @property
    def exhausted(self) -> bool:
        """Whether nothing more can be kept, as those that should have stopped came back as others."""
        return self.used > self.limit + self.limit // 4

    def take(self, size: int) -> None:
        """``size`` bytes more are held."""
        self.used += size

    def give(self, size: int) -> None:
        """``size`` bytes are held no more; those that wait go on, as far as there is room."""
        self.used -= size
        if self._claims or self._paused:
            self._go_on()

    def claim(self, size: int, granted: Resume) -> bool:
        """Take ``size`` bytes if there is room; else return False, and take them and call ``granted()`` when
        there is, in the order of the claims."""
        if not self._claims and (self.used + size <= self.limit or not self.used):
            self.used += size
            return True
        self._claims[granted] = size
        return False

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
        claims = self._claims
        while claims:
            granted, size = next(iter(claims.items()))
            if self.used + size > self.limit and self.used > 0:
                return
            del claims[granted]
            self.used += size
            granted()
        while self._paused and not self.over:
            resume = next(iter(self._paused))
            del self._paused[resume]
            resume()


UNLIMITED: Final = 2**63 - 1
