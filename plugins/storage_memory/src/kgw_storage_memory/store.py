"""The store: one :class:`Segments` a partition, and nothing that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from kgw_core.errors import TopicAlreadyExists, UnknownTopicOrPartition
from kgw_core.records.segments import Segments
from kgw_core.spi.storage import (
    Append,
    Batch,
    Bounds,
    Capabilities,
    LogStore,
    OffsetConflict,
    Read,
    Run,
    Topic,
    TopicPartition,
)

_AT_ONCE = 500
"""Logs that are dropped before others get a turn on the event loop."""

CAPABILITIES = Capabilities(immediate=True, commit_scope="store")


class MemoryStore(LogStore):
    """Keeps batches in this process; they are gone when it ends."""

    name = "memory"

    def __init__(self, config: object = None) -> None:
        super().__init__(config)
        self._topics: dict[UUID, Topic] = {}
        self._names: set[str] = set()
        self._logs: dict[TopicPartition, Segments] = {}

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

    async def update_topic(self, topic: Topic) -> None:
        self._topic(topic.id)
        self._topics[topic.id] = topic

    async def delete_topic(self, topic_id: UUID) -> None:
        topic = self._topic(topic_id)
        del self._topics[topic_id]
        self._names.discard(topic.name)
        for partition in range(topic.partitions):
            self._logs.pop(TopicPartition(topic.name, topic_id, partition), None)
            if partition % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)

    def _topic(self, topic_id: UUID) -> Topic:
        try:
            return self._topics[topic_id]
        except KeyError:
            raise UnknownTopicOrPartition(f"no topic with id {topic_id}") from None

    # -- logs

    def append_now(self, tp: TopicPartition, batches: Sequence[Batch]) -> int:
        log = self._logs.get(tp) or self._log(tp)
        end = log.end
        if batches[0].base_offset != end:
            raise OffsetConflict(batches[0].base_offset, end)
        try:
            for base_offset, span, max_timestamp, data, stable, write_time in batches:
                log.append(base_offset, span, max_timestamp, data, stable, write_time)
        except BaseException:  # no memory for the second batch: the first goes, too
            log.truncate(end)
            raise
        return end

    def read_now(self, tp: TopicPartition, offset: int, max_bytes: int) -> Sequence[Run]:
        log = self._logs.get(tp) or self._log(tp)
        return log.read(offset, max_bytes)

    async def append(self, tp: TopicPartition, batches: Sequence[Batch]) -> int:
        return self.append_now(tp, batches)

    async def read(self, tp: TopicPartition, offset: int, max_bytes: int) -> Sequence[Run]:
        return self.read_now(tp, offset, max_bytes)

    async def append_many(self, appends: Sequence[Append]) -> list[int | Exception]:
        results: list[int | Exception] = []
        for tp, batches in appends:
            try:
                results.append(self.append_now(tp, batches))
            except Exception as error:
                results.append(error)
        return results

    async def read_many(self, reads: Sequence[Read]) -> list[Sequence[Run] | Exception]:
        results: list[Sequence[Run] | Exception] = []
        for tp, offset, max_bytes in reads:
            try:
                results.append(self.read_now(tp, offset, max_bytes))
            except Exception as error:
                results.append(error)
        return results

    async def bounds(self, tp: TopicPartition) -> Bounds:
        log = self._log(tp)
        return Bounds(log.start, log.end, 0, log.size)

    async def trim(self, tp: TopicPartition, before: int) -> None:
        self._log(tp).trim(before)

    async def find_time(self, tp: TopicPartition, timestamp: int) -> int | None:
        return self._log(tp).find_time(timestamp)

    async def find_max_time(
        self, tp: TopicPartition, start: int | None = None, end: int | None = None
    ) -> int | None:
        return self._log(tp).find_max_time(start, end)

    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        return self._log(tp).write_time(offset)

    async def replace(self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch]) -> bool:
        self._log(tp).replace(first, last, batches)
        return True

    def _log(self, tp: TopicPartition) -> Segments:
        """The partition's log, made when it is first asked for: under the very key that its caller keeps,
        which later look-ups find by identity."""
        log = self._logs.get(tp)
        if log is None:
            topic = self._topics.get(tp.topic_id)
            if topic is None or not 0 <= tp.partition < topic.partitions:
                raise UnknownTopicOrPartition(f"no partition {tp} with topic id {tp.topic_id}")
            log = self._logs[tp] = Segments()
        return log
