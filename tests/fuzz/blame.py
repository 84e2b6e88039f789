"""Whose fault a stall is: the gateway's, or the machine's, which had other things to do.

Two things are measured for the time of a turn. How long the gateway's threads and the healthy process were
ready to run and had no core, as the kernel's run queue counts it (Linux with scheduler statistics); a thread
that has no core may hold what the event loop waits for. And how late a thread was that does nothing but wake
up every few milliseconds, as when the whole machine stood still.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

TICK: Final = 0.005


class Machine:
    """Measures beside the gateway with this process id (0: none)."""

    def __init__(self, pid: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task") if pid else None
        self._own = Path("/proc/thread-self/schedstat")
        self._late: deque[tuple[float, float]] = deque(maxlen=10_000)
        self._queued = 0.0
        self._began = 0.0
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while True:
            before = time.perf_counter()
            time.sleep(TICK)
            now = time.perf_counter()
            if now - before - TICK > TICK:
                self._late.append((now, now - before - TICK))

    def begin(self) -> None:
        """A turn begins."""
        self._began, self._queued = time.perf_counter(), self._waited()

    def fault(self) -> float:
        """Seconds since then that are the machine's fault."""
        late = sum(late for at, late in list(self._late) if at > self._began)
        return max(self._waited() - self._queued, late)

    def _waited(self) -> float:
        """Seconds in the run queue so far, both together."""
        total = 0
        gateways = self._tasks.glob("*/schedstat") if self._tasks is not None else ()
        for path in (*gateways, self._own):
            try:
                total += int(path.read_text().split()[1])
            except (OSError, IndexError):
                continue
        return total / 1e9
