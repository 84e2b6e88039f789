"""The measure for how long the event loop works at a stretch."""

from __future__ import annotations

import threading
import time

import anyio
import pytest

from kgw_core.testing.turns import longest_turn

pytestmark = pytest.mark.anyio


def work(seconds: float) -> None:
    """CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def test_it_finds_the_longest_stretch() -> None:
    async with longest_turn() as longest:
        await anyio.sleep(0.002)
        work(0.05)
        await anyio.sleep(0.002)
        work(0.02)
    assert 0.05 <= longest.seconds < 0.07, "not their sum"


async def test_what_others_do_meanwhile_does_not_count() -> None:
    over = threading.Event()

    def busy() -> None:
        while not over.is_set():
            pass

    others = [threading.Thread(target=busy) for _ in range(4)]
    for other in others:
        other.start()
    began = time.monotonic()
    async with longest_turn() as longest:
        for _ in range(20):
            await anyio.sleep(0.001)
    took = time.monotonic() - began
    over.set()
    for other in others:
        other.join()
    assert took > 0.05, "they were in the way"
    assert longest.seconds < 0.05
