"""How long the event loop works before others get a turn, whatever else the machine has to do.

Wall time grows with all that runs beside a test; the CPU time of the loop's thread does not. It misses
calls that wait; blockbuster finds those.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK = 0.001


class LongestTurn:
    """``seconds`` of CPU time that the loop's thread took at most before a timer that was due."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last = time.thread_time()

    def tick(self) -> None:
        """Others have had their turn."""
        now = time.thread_time()
        self.seconds, self._last = max(self.seconds, now - self._last), now


@asynccontextmanager
async def longest_turn() -> AsyncIterator[LongestTurn]:
    """Measures while it is entered."""
    loop = asyncio.get_running_loop()
    longest = LongestTurn()
    timers: list[asyncio.TimerHandle] = []

    def tick() -> None:
        longest.tick()
        timers[:] = [loop.call_later(TICK, tick)]

    tick()
    try:
        yield longest
    finally:
        timers[0].cancel()
        longest.tick()
