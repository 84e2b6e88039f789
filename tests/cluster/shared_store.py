"""A store and a state that several gateways of one process share, each on a loop and thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar
from uuid import UUID

import anyio
import anyio.lowlevel
from kgw_storage_memory.store import MemoryStore

from kgw_core.spi.context import PluginContext, StoreContext
from kgw_core.spi.state import NO_VERSIONS, Changes, Entry, StateCapabilities, StateStore, Versions
from kgw_core.spi.storage import Batch, Bounds, Capabilities, LogStore, Run, Topic, TopicPartition
from kgw_core.state.memory import MemoryStateStore

T = TypeVar("T")


class Shared:
    """The part that the gateways share. One of them at a time uses it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.logs = MemoryStore()
        self.state = MemoryStateStore()
        self.stores: list[SharedStore] = []

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what never waits, with nobody else in between."""
        try:
            await anyio.lowlevel.checkpoint()
            with self._lock:
                work.send(None)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            work.close()
        raise RuntimeError("it waits")


class SharedStore(LogStore):
    """One gateway's way to it. ``gate``: while it is there and not set, appends are on their way."""

    name = "shared"

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self.shared = shared
        self.inner = shared.logs
        self.gate: anyio.Event | None = None
        self.held = 0
        self.late: list[Exception | Sequence[int]] = []
        """The outcomes of appends that had to wait at the gate."""

    async def open(self, context: StoreContext | None = None) -> None:
        self._context = context or StoreContext()
        self._loop = asyncio.get_running_loop()
        self.shared.stores.append(self)

    async def close(self) -> None:
        self.shared.stores.remove(self)

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return Capabilities(durable=True, fences=True)

    def state_store(self) -> StateStore:
        return SharedState(self.shared)

    # -- topics

    async def topics(self) -> Sequence[Topic]:
        return await self.shared.do(self.inner.topics())

    async def create_topic(self, topic: Topic) -> None:
        await self.shared.do(self.inner.create_topic(topic))
        self._tell()

    async def update_topic(self, topic: Topic, before: Topic) -> None:
        await self.shared.do(self.inner.update_topic(topic, before))
        self._tell()

    async def delete_topic(self, topic_id: UUID) -> None:
        await self.shared.do(self.inner.delete_topic(topic_id))
        self._tell()

    def _tell(self) -> None:
        for store in self.shared.stores:
            if store is not self:
                store._loop.call_soon_threadsafe(store._context.events.topics_changed)

    # -- logs

    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        if self.gate is None or self.gate.is_set():
            return await self.shared.do(self.inner.append(tp, batches, epoch))
        self.held += 1
        await self.gate.wait()
        try:
            bases = await self.shared.do(self.inner.append(tp, batches, epoch))
        except Exception as error:
            self.late.append(error)
            raise
        self.late.append(bases)
        return bases

    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return await self.shared.do(self.inner.read(tp, offset, max_bytes, below))

    async def bounds(self, tp: TopicPartition) -> Bounds:
        return await self.shared.do(self.inner.bounds(tp))

    async def fence(self, tp: TopicPartition, epoch: int) -> Bounds:
        return await self.shared.do(self.inner.fence(tp, epoch))

    def leader_epoch(self, tp: TopicPartition) -> int:
        return self.inner.leader_epoch(tp)

    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        await self.shared.do(self.inner.trim(tp, before, epoch))

    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        return await self.shared.do(self.inner.write_time(tp, offset))


class SharedState(StateStore):
    """One gateway's way to the state."""

    name = "shared"

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self._shared = shared

    async def open(self, context: PluginContext | None = None) -> None:
        pass

    def capabilities(self) -> StateCapabilities:
        return StateCapabilities(durable=True)

    async def get(self, key: bytes) -> Entry | None:
        return await self._shared.do(self._shared.state.get(key))

    async def scan(self, prefix: bytes) -> AsyncIterator[Entry]:
        for entry in await self._shared.do(self._scan(prefix)):
            yield entry

    async def _scan(self, prefix: bytes) -> list[Entry]:
        return [entry async for entry in self._shared.state.scan(prefix)]

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        return await self._shared.do(self._shared.state.commit(changes, if_versions))
