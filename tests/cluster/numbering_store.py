"""A store whose engine gives out the offsets, and into which others write, too."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from kgw_storage_memory.store import MemoryStore

from kgw_core.records import build_batch
from kgw_core.spi.context import StoreContext
from kgw_core.spi.storage import Batch, Bounds, Capabilities, LogStore, Run, Topic, TopicPartition


class NumberingStore(LogStore):
    """Keeps batches in memory. ``guests``: values of records that others write, one after each batch of the
    next append, before its next batch."""

    name = "numbering"

    def __init__(self, config: object = None) -> None:
        super().__init__(config)
        self.inner = MemoryStore()
        self.context = StoreContext()
        self.guests: list[bytes] = []

    async def open(self, context: StoreContext | None = None) -> None:
        self.context = context or StoreContext()

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return Capabilities(numbers_records=True, fences=True)

    async def topics(self) -> Sequence[Topic]:
        return await self.inner.topics()

    async def create_topic(self, topic: Topic) -> None:
        await self.inner.create_topic(topic)

    async def update_topic(self, topic: Topic, before: Topic) -> None:
        await self.inner.update_topic(topic, before)

    async def delete_topic(self, topic_id: UUID) -> None:
        await self.inner.delete_topic(topic_id)

    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        bases: list[int] = []
        numbered: list[Batch] = []
        end = (await self.inner.bounds(tp)).end
        for batch in batches:
            assert batch.base_offset == -1 and bytes(batch.data[:8]) == bytes(8)
            bases.append(end)
            numbered.append(_at(end, bytes(batch.data), batch))
            end += batch.span
            if self.guests:
                numbered.append(guest(end, self.guests.pop(0)))
                end += 1
        await self.inner.append(tp, numbered, epoch)
        return bases

    async def others_write(self, tp: TopicPartition, *values: bytes) -> int:
        """Others append records of these values, and the gateway hears of it; the log's end."""
        end = (await self.inner.bounds(tp)).end
        epoch = self.inner.leader_epoch(tp)
        await self.inner.append(tp, [guest(end + at, value) for at, value in enumerate(values)], epoch)
        self.context.events.grown(tp, end + len(values))
        return end + len(values)

    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return await self.inner.read(tp, offset, max_bytes, below)

    async def bounds(self, tp: TopicPartition) -> Bounds:
        return await self.inner.bounds(tp)

    async def fence(self, tp: TopicPartition, epoch: int) -> Bounds:
        return await self.inner.fence(tp, epoch)

    def leader_epoch(self, tp: TopicPartition) -> int:
        return self.inner.leader_epoch(tp)

    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        await self.inner.trim(tp, before, epoch)

    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch], epoch: int = 0
    ) -> bool:
        return await self.inner.replace(tp, first, last, batches, epoch)

    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        return await self.inner.write_time(tp, offset)


def _at(base: int, data: bytes, batch: Batch) -> Batch:
    return batch._replace(base_offset=base, data=base.to_bytes(8, "big") + data[8:], stable=True)


def guest(base: int, value: bytes) -> Batch:
    data = build_batch([(b"guest", value, 1_700_000_000_000)])
    return _at(base, bytes(data), Batch(base, 1, 1_700_000_000_000, data, True))
