"""Work that would hold the event loop for long, in threads: two at a time for the whole gateway.

Threads take turns with the event loop (every 5 ms), so many at once would make it wait as if they ran on it;
and what each of them may take of memory counts as many times as there are threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from kgw_core.errors import KafkaError

T = TypeVar("T")

THREADS: Final = 2
_limiter: RunVar[anyio.CapacityLimiter] = RunVar("kgw_workers")


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """``function(*args)``, when its turn comes. What it raises is raised."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(THREADS)
        _limiter.set(limiter)
    try:
        return await anyio.to_thread.run_sync(function, *args, limiter=limiter)
    except KafkaError as error:  # its frames would hold what was looked at until the garbage is collected
        raise error.with_traceback(None) from None
