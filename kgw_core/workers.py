"""Runs long work in threads, two at a time for the whole gateway.

Threads alternate with the event loop, so many threads would delay it as if they ran on it. Also, each thread
may take the memory of its work.

A thread that runs Python code keeps CPython's global lock until it has had it for the switch interval, 5 ms
by default. The event loop gives the lock away whenever it waits for sockets, so with two busy threads it lost
10 ms in each of its turns, and a client with a few turns in a request waited over 300 ms. So the command
shortens the interval.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from kgw_core.errors import KafkaError

T = TypeVar("T")

THREADS: Final = 2
SWITCH_INTERVAL: Final = 0.0005
"""Seconds that a busy thread keeps the lock while the event loop waits for it."""

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


@contextmanager
def quick_switches() -> Iterator[None]:
    """Meanwhile threads give CPython's lock to the event loop within :data:`SWITCH_INTERVAL`. This holds for
    the whole process."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
