"""The store: one :class:`Segments` for each partition; nothing waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from kgw_core.errors import TopicAlreadyExists, UnknownTopicOrPartition
from kgw_core.records.runs import up_to
from kgw_core.records.segments import Segments
from kgw_core.spi.storage import (
    Batch,
    Bounds,
    Capabilities,
    Fenced,
    LogStore,
    OffsetConflict,
    Run,
    Topic,
    TopicConflict,
    TopicPartition,
)

_AT_ONCE = 500
"""Logs that are dropped before others get a turn on the event loop."""

CAPABILITIES = Capabilities(immediate=True, fences=True, commit_scope="store")


class MemoryStore(LogStore):
    """Keeps batches in this process; they are gone when it ends."""

    name = "memory"

    def __init__(self, config: object = None) -> None:
        super().__init__(config)
        self._topics: dict[UUID, Topic] = {}
        self._names: set[str] = set()
        self._logs: dict[TopicPartition, Segments] = {}
        self._fences: dict[TopicPartition, int] = {}  # the epoch of each log that has another one than 0

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return CAPABILITIES

    # -- topics

    async def topics(self) -> Sequence[Topic]:
        return list(self._topics.values())

    async def create_topic(self, topic: Topic) -> None:
        if topic.name in self._names:
            raise TopicAlreadyExists(f"topic {topic.name} exists")
        self._names.add(topic.name)
        self._topics[topic.id] = topic

    async def update_topic(self, topic: Topic, before: Topic) -> None:
        found = self._topic(topic.id)
        if found != before:
            raise TopicConflict(found)
        self._topics[topic.id] = topic

    async def delete_topic(self, topic_id: UUID) -> None:
        topic = self._topic(topic_id)
        del self._topics[topic_id]
        self._names.discard(topic.name)
        for partition in range(topic.partitions):
            tp = TopicPartition(topic.name, topic_id, partition)
            self._logs.pop(tp, None)
            self._fences.pop(tp, None)
            if partition % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)

    def _topic(self, topic_id: UUID) -> Topic:
        try:
            return self._topics[topic_id]
        except KeyError:
            raise UnknownTopicOrPartition(f"no topic with id {topic_id}") from None

    # -- logs

    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        log = self._logs.get(tp) or self._log(tp)
        if self._fences and epoch < self._fences.get(tp, 0):
            raise Fenced(tp, self._fences[tp])
        end = log.end
        if batches[0].base_offset != end:
            raise OffsetConflict(batches[0].base_offset, end)
        try:
            for base_offset, span, max_timestamp, data, stable, write_time in batches:
                log.append(base_offset, span, max_timestamp, data, stable, write_time)
        except BaseException:  # no memory for the second batch: the first goes, too
            log.truncate(end)
            raise

    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        log = self._logs.get(tp) or self._log(tp)
        return up_to(log.read(offset, max_bytes), below)

    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        self.append_now(tp, batches, epoch)
        return [batch.base_offset for batch in batches]

    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return self.read_now(tp, offset, max_bytes, below)

    async def bounds(self, tp: TopicPartition) -> Bounds:
        log = self._log(tp)
        return Bounds(log.start, log.end, self.leader_epoch(tp), log.size)

    def leader_epoch(self, tp: TopicPartition) -> int:
        return self._fences.get(tp, 0)

    async def fence(self, tp: TopicPartition, epoch: int) -> Bounds:
        self._log(tp)
        self._check(tp, epoch)
        if epoch:
            self._fences[tp] = epoch
        return await self.bounds(tp)

    def _check(self, tp: TopicPartition, epoch: int) -> None:
        if epoch < self._fences.get(tp, 0):
            raise Fenced(tp, self._fences[tp])

    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        log = self._log(tp)
        self._check(tp, epoch)
        log.trim(before)

    async def find_time(self, tp: TopicPartition, timestamp: int) -> int | None:
        return self._log(tp).find_time(timestamp)

    async def find_max_time(
        self, tp: TopicPartition, start: int | None = None, end: int | None = None
    ) -> int | None:
        return self._log(tp).find_max_time(start, end)

    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        return self._log(tp).write_time(offset)

    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch], epoch: int = 0
    ) -> bool:
        log = self._log(tp)
        self._check(tp, epoch)
        log.replace(first, last, batches)
        return True

    def _log(self, tp: TopicPartition) -> Segments:
        """The partition's log, made at its first use: under the very key that its caller keeps,
        which later look-ups find by identity."""
        log = self._logs.get(tp)
        if log is None:
            topic = self._topics.get(tp.topic_id)
            if topic is None or not 0 <= tp.partition < topic.partitions:
                raise UnknownTopicOrPartition(f"no partition {tp} with topic id {tp.topic_id}")
            log = self._logs[tp] = Segments()
        return log
