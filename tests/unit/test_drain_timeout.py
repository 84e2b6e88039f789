"""How long the end may take."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from kgw_core.drain_timeout import DrainTimeout

pytestmark = pytest.mark.anyio


async def test_what_is_done_in_time_is_done() -> None:
    done = False
    with DrainTimeout(3600).waiting():
        await anyio.lowlevel.checkpoint()
        done = True
    assert done


async def test_nobody_waits_longer_than_it_lasts() -> None:
    with DrainTimeout(0.001).waiting():
        await anyio.sleep_forever()


async def test_once_it_is_lost_nothing_is_waited_for() -> None:
    timeout = DrainTimeout(3600)
    async with anyio.create_task_group() as tasks:

        async def expire() -> None:
            timeout.expire()

        tasks.start_soon(expire)
        with timeout.waiting():
            await anyio.sleep_forever()
    with timeout.waiting():
        await anyio.sleep_forever()
