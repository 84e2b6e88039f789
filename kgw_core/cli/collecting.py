"""When CPython's garbage collector looks, and at what: never for long, however much the gateway keeps.

What a gateway keeps (topics, logs, sessions, groups) lives long and grows. CPython looks at all of it again
whenever a quarter more has come: with 100,000 partitions that held the event loop for 0.8 s. Here a full look
comes after so many new objects, between two callbacks of the event loop, and is the last one at what it
finds alive: that is frozen, and the next look has to do with what came since. What is frozen is freed like
everything else when nobody refers to it any more. Only a cycle of objects would stay for ever, so the gateway
lets go of none (``tests/unit/test_garbage.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

THRESHOLD: Final = (5_000, 5, 1_000_000)
"""Objects that come to be, net, before the youngest are looked at; looks at those before one at those that
were left over; and no full look by CPython's own rules.

The first: a commit of a store answers some dozens of requests, and all of theirs live until then: with 700,
CPython's own, it looked at those in vain, for 5 % of the CPU. More would make it look at too many at once."""
LOOKS: Final = 2
"""Looks at what was left over before a full one, which has 60,000 objects to look at then: some 10 ms."""


@contextmanager
def kept_short() -> Iterator[None]:
    """Freeze what is there now, and then what each full look finds. To be entered on the event loop."""
    looks = _Looks(asyncio.get_running_loop())
    threshold = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*THRESHOLD)
    gc.callbacks.append(looks.looked)
    try:
        yield
    finally:
        gc.callbacks.remove(looks.looked)
        gc.set_threshold(*threshold)


class _Looks:
    """Counts looks at what was left over, in whichever thread they come, and has a full one follow."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._count = 0

    def looked(self, phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 1:
            self._count += 1
            if self._count == LOOKS:
                with contextlib.suppress(RuntimeError):  # the loop was closed
                    self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        gc.collect()
        gc.freeze()
        self._count = 0
