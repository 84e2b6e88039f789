"""Runs long work in threads, two at a time for the whole gateway.

Threads alternate with the event loop every 5 ms, so many threads would delay it as if they ran on it. Also,
each thread may take the memory of its work.
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
    """Run ``function(*args)`` in a thread when one is free. :raises Exception: from the function."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(THREADS)
        _limiter.set(limiter)
    try:
        return await anyio.to_thread.run_sync(function, *args, limiter=limiter)
    except KafkaError as error:  # its frames would keep the data alive until a garbage collection
        raise error.with_traceback(None) from None
