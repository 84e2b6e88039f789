from __future__ import annotations

import time

import anyio
import pytest

from kgw_core.clock import SystemClock

pytestmark = pytest.mark.anyio


def test_wall_time_is_in_milliseconds_since_the_epoch() -> None:
    assert abs(SystemClock().time_ms() - time.time() * 1000) < 1000


def test_monotonic_time_never_goes_back() -> None:
    clock = SystemClock()
    times = [clock.monotonic() for _ in range(100)]
    assert times == sorted(times)


async def test_a_timer_calls_on_the_event_loop_and_one_that_is_cancelled_does_not() -> None:
    clock = SystemClock()
    called = anyio.Event()
    cancelled: list[int] = []
    clock.call_later(0.001, lambda: cancelled.append(1)).cancel()
    timer = clock.call_later(0.002, called.set)
    with anyio.fail_after(5):
        await called.wait()
    assert cancelled == []
    timer.cancel()  # harmless after the call
