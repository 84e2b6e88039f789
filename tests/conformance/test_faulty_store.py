"""The kit's faulty store: right until it is told to fail."""

from __future__ import annotations

from uuid import uuid4

import anyio
import pytest
from anyio.lowlevel import checkpoint
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import KafkaStorageError
from kgw_core.spi.storage import Append, Topic, TopicPartition
from kgw_core.testing import FaultyStore, LogStoreSuite, make_batch

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class TestFaultyStore(LogStoreSuite):
    @pytest.fixture
    def store(self) -> FaultyStore:
        return FaultyStore(MemoryStore())


async def log(store: FaultyStore) -> TopicPartition:
    topic = Topic("t", uuid4(), 1)
    await store.create_topic(topic)
    return TopicPartition("t", topic.id, 0)


async def test_a_fault_comes_as_often_as_asked_and_nothing_is_written() -> None:
    """Twice, whichever way the append comes; the third goes through."""
    store = FaultyStore(MemoryStore())
    tp = await log(store)
    store.fail("append", KafkaStorageError("full"), times=2)
    with pytest.raises(KafkaStorageError, match="full"):
        store.append_now(tp, [make_batch(0)])
    [result] = await store.append_many([Append(tp, [make_batch(0)])])
    assert isinstance(result, KafkaStorageError)
    assert (await store.bounds(tp)).end == 0
    assert list(await store.append(tp, [make_batch(0)])) == [0]
    assert store.calls.count("append") == 3


async def test_a_late_fault_comes_when_the_work_is_done() -> None:
    """An outcome that the caller cannot know."""
    store = FaultyStore(MemoryStore())
    tp = await log(store)
    store.fail("append", OSError("connection lost"), late=True)
    with pytest.raises(OSError, match="connection lost"):
        await store.append(tp, [make_batch(0)])
    assert (await store.bounds(tp)).end == 1


async def test_a_held_call_waits_until_it_is_let_go() -> None:
    """And then does what it was asked for."""
    store = FaultyStore(MemoryStore())
    tp = await log(store)
    gate = store.hold("append")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.append, tp, [make_batch(0)])
        for _ in range(5):
            await checkpoint()
        assert (await store.bounds(tp)).end == 0
        gate.set()
    assert (await store.bounds(tp)).end == 1
