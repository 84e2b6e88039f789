"""A clock that tests turn by hand."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import anyio.lowlevel

NOW = 1_700_000_000_000
"""What the clock says at first, in ms since the epoch."""


async def turns(count: int = 20) -> None:
    """Let everything run that does not wait for the test."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


class ManualTimer:
    """A call that is due later."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call."""
        self.cancelled = True


class ManualClock:
    """A :class:`kgw_core.clock.Clock` whose time stands still until :meth:`advance`."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._count = 0

    def time_ms(self) -> int:
        """Milliseconds since the epoch."""
        return NOW + round(self._seconds * 1000)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._seconds

    def call_later(self, seconds: float, callback: Callable[[], object]) -> ManualTimer:
        """Call ``callback`` when the time has advanced by ``seconds``."""
        timer = ManualTimer(callback)
        self._count += 1
        heapq.heappush(self._timers, (self._seconds + seconds, self._count, timer))
        return timer

    @property
    def waiting(self) -> int:
        """Timers that are neither over nor cancelled."""
        return sum(not timer.cancelled for _, _, timer in self._timers)

    async def advance(self, seconds: float) -> None:
        """Advance by ``seconds``, run the callbacks that are due, and let their consequences run."""
        end = self._seconds + seconds
        while self._timers and self._timers[0][0] <= end:
            self._seconds, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                timer.callback()
        self._seconds = end
        await turns()
