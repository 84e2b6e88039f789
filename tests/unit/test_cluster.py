"""The cluster's id is made once."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest
from kgw_storage_memory.store import MemoryStore

from kgw_core.cluster import KEY, cluster_id
from kgw_core.spi.state import Entry
from kgw_core.spi.storage import Topic
from kgw_core.state.log import TOPIC, LogStateStore
from kgw_core.state.memory import MemoryStateStore
from kgw_core.testing.faults import FaultyStore

pytestmark = pytest.mark.anyio


async def test_an_id_is_made_once_and_kept() -> None:
    state = MemoryStateStore()
    made = await cluster_id(state, None)
    assert len(made) == 22, "16 bytes in URL-safe base64, as Kafka's"
    assert await cluster_id(state, None) == made
    assert await cluster_id(MemoryStateStore(), None) != made


async def test_a_configured_id_goes_before_the_one_that_was_made() -> None:
    state = MemoryStateStore()
    made = await cluster_id(state, None)
    assert await cluster_id(state, "mine") == "mine"
    entry = await state.get(KEY)
    assert entry is not None and entry.value.decode() == made


class Waiting(MemoryStateStore):
    """Others get turns in every call."""

    async def get(self, key: bytes) -> Entry | None:
        entry = await super().get(key)
        await anyio.lowlevel.checkpoint()
        return entry


async def test_gateways_that_start_together_have_one_id() -> None:
    state = Waiting()
    found: list[str] = []

    async def start() -> None:
        found.append(await cluster_id(state, None))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(start)
    assert len(found) == 5
    assert len(set(found)) == 1


async def test_gateways_that_start_together_on_one_log_have_one_id() -> None:
    store = Slow(MemoryStore())
    found: list[str] = []

    async def start() -> None:
        state = LogStateStore(store)
        await state.open()
        found.append(await cluster_id(state, None))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(start)
    assert len(found) == 5
    assert len(set(found)) == 1
    assert [topic.name for topic in await store.topics()] == [TOPIC]


class Slow(FaultyStore):
    """Others get turns before and after every call."""

    async def topics(self) -> Sequence[Topic]:
        topics = await super().topics()
        await anyio.lowlevel.checkpoint()
        return topics
