"""A store that fails on demand, in front of a real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import anyio

from kgw_core.spi.context import StoreContext
from kgw_core.spi.storage import Batch, Bounds, Capabilities, LogStore, Run, Topic, TopicPartition


class Fault(NamedTuple):
    """What the next call of a method does: raise ``error``, after doing its work if ``late``."""

    error: Exception
    late: bool


class FaultyStore(LogStore):
    """Passes everything on to ``inner``, except for the failures and delays that a test asks for.

    ``append_many`` and ``read_many`` are the base class's, so that each item meets the faults of
    ``append`` and ``read``; so do ``append_now`` and ``read_now``, which cannot be held.
    """

    name = "faulty"

    def __init__(self, inner: LogStore) -> None:
        super().__init__()
        self.inner = inner
        self.calls: list[str] = []
        """Names of the methods that were called, in order."""
        self._faults: dict[str, list[Fault]] = {}
        self._gates: dict[str, anyio.Event] = {}

    def fail(self, method: str, error: Exception, *, times: int = 1, late: bool = False) -> None:
        """Let the next ``times`` calls of ``method`` raise ``error``; ``late``: when the work is done."""
        self._faults.setdefault(method, []).extend([Fault(error, late)] * times)

    def hold(self, method: str) -> anyio.Event:
        """Let calls of ``method`` wait until the event that is returned is set."""
        self._gates[method] = event = anyio.Event()
        return event

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return self.inner.capabilities(topic)

    async def open(self, context: StoreContext | None = None) -> None:
        await self._enter("open")
        await self.inner.open(context)

    async def close(self) -> None:
        await self.inner.close()

    async def ping(self) -> None:
        await self._enter("ping")
        await self.inner.ping()

    async def topics(self) -> Sequence[Topic]:
        await self._enter("topics")
        return await self.inner.topics()

    async def create_topic(self, topic: Topic) -> None:
        late = await self._enter("create_topic")
        await self.inner.create_topic(topic)
        _raise(late)

    async def update_topic(self, topic: Topic, before: Topic) -> None:
        late = await self._enter("update_topic")
        await self.inner.update_topic(topic, before)
        _raise(late)

    async def delete_topic(self, topic_id: UUID) -> None:
        late = await self._enter("delete_topic")
        await self.inner.delete_topic(topic_id)
        _raise(late)

    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        late = await self._enter("append")
        bases = await self.inner.append(tp, batches, epoch)
        _raise(late)
        return bases

    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        late = self._meet("append")
        self.inner.append_now(tp, batches, epoch)
        _raise(late)

    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        await self._enter("read")
        return await self.inner.read(tp, offset, max_bytes, below)

    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        self._meet("read")
        return self.inner.read_now(tp, offset, max_bytes, below)

    async def bounds(self, tp: TopicPartition) -> Bounds:
        await self._enter("bounds")
        return await self.inner.bounds(tp)

    async def fence(self, tp: TopicPartition, epoch: int) -> Bounds:
        await self.inner.fence(tp, epoch)
        return await self.bounds(tp)

    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        late = await self._enter("trim")
        await self.inner.trim(tp, before, epoch)
        _raise(late)

    async def find_time(self, tp: TopicPartition, timestamp: int) -> int | None:
        await self._enter("find_time")
        return await self.inner.find_time(tp, timestamp)

    async def find_max_time(
        self, tp: TopicPartition, start: int | None = None, end: int | None = None
    ) -> int | None:
        await self._enter("find_max_time")
        return await self.inner.find_max_time(tp, start, end)

    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        await self._enter("write_time")
        return await self.inner.write_time(tp, offset)

    def leader_epoch(self, tp: TopicPartition) -> int:
        return self.inner.leader_epoch(tp)

    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch], epoch: int = 0
    ) -> bool:
        late = await self._enter("replace")
        replaced = await self.inner.replace(tp, first, last, batches, epoch)
        _raise(late)
        return replaced

    async def _enter(self, method: str) -> Exception | None:
        if method in self._gates:
            await self._gates[method].wait()
        return self._meet(method)

    def _meet(self, method: str) -> Exception | None:
        """Raise the next fault of ``method``, or return it if it is late."""
        self.calls.append(method)
        faults = self._faults.get(method)
        if not faults:
            return None
        fault = faults.pop(0)
        if fault.late:
            return fault.error
        raise fault.error


def _raise(error: Exception | None) -> None:
    if error is not None:
        raise error
