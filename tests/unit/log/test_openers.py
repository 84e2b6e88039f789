"""Logs that appends wait for are opened a few at a turn, and none waits for another."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from broker_kit import Kit, a_kit, batch, turns, view
from kgw_storage_memory.store import MemoryStore

from kgw_core.log import opening
from kgw_core.pending import Pending
from kgw_core.spi.storage import Bounds, TopicPartition

pytestmark = pytest.mark.anyio


class SlowToOpen(MemoryStore):
    """Does not say what there is of partition 0 until ``gate`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = anyio.Event()
        self.asked: list[int] = []

    async def bounds(self, tp: TopicPartition) -> Bounds:
        self.asked.append(tp.partition)
        if tp.partition == 0:
            await self.gate.wait()
        return await super().bounds(tp)


async def test_a_log_that_is_slow_to_open_holds_up_no_other() -> None:
    store = SlowToOpen()
    kit = await a_kit(store)
    logs = (await kit.topic(partitions=3 * opening.STEP)).partitions
    pending = [log.append(view(batch("a")), False) for log in logs]
    await turns(100)
    done = [isinstance(each, Pending) and each.done for each in pending]
    assert done == [False] + [True] * (len(logs) - 1)
    store.gate.set()
    await turns()
    assert isinstance(pending[0], Pending)
    assert pending[0].result().base_offset == 0
    await kit.close()


async def test_others_get_turns_between() -> None:
    store = SlowToOpen()
    kit: Kit = await a_kit(store)
    for log in (await kit.topic(partitions=20 * opening.STEP)).partitions:
        log.append(view(batch("a")), False)
    most = 0
    while len(store.asked) < 20 * opening.STEP:
        before = len(store.asked)
        await anyio.lowlevel.checkpoint()
        most = max(most, len(store.asked) - before)
    assert most <= 2 * opening.STEP
    store.gate.set()
    await kit.close()
