"""Schedules CPython's garbage collection, so that no collection holds the event loop for long.

The objects of a gateway (topics, logs, sessions, groups) live long, and their number grows. CPython's full
collection visits all of them whenever their number has grown by a quarter. With 100,000 partitions that held
the event loop for 0.8 s. Here a full collection runs between two callbacks of the event loop, after a number
of new objects, and freezes all objects that it finds alive. So the next one visits only objects that are
newer. Frozen objects are freed by reference counting as usual. Only a cycle of them would leak, so the
gateway makes no cycles (``tests/unit/test_garbage.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

THRESHOLD: Final = (5_000, 5, 1_000_000)
"""The thresholds of :func:`gc.set_threshold`: net new objects before a collection of generation 0,
collections of generation 0 before one of generation 1, and practically no full collection by CPython's own
rule.

The first is 5,000 because the objects of some dozens of requests live until a store's commit answers them.
With 700, CPython's default, collecting those in vain took 5 % of the CPU. A higher one would collect too many
at once."""
MIDDLE_COLLECTIONS: Final = 2
"""Collections of generation 1 before a full one, which then visits 60,000 objects in about 10 ms."""


@contextmanager
def short_collections() -> Iterator[None]:
    """Freeze all objects now, and after each full collection. Enter this on the event loop."""
    schedule = _Schedule(asyncio.get_running_loop())
    threshold = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*THRESHOLD)
    gc.callbacks.append(schedule.collected)
    try:
        yield
    finally:
        gc.callbacks.remove(schedule.collected)
        gc.set_threshold(*threshold)


class _Schedule:
    """Counts collections of generation 1, in any thread, and schedules the full collections."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._count = 0

    def collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 1:
            self._count += 1
            if self._count == MIDDLE_COLLECTIONS:
                with contextlib.suppress(RuntimeError):  # the loop was closed
                    self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        gc.collect()
        gc.freeze()
        self._count = 0
