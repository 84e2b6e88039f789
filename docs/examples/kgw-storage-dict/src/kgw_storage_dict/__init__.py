"""A kgw storage plugin that keeps batches in a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from kgw_core.errors import KafkaStorageError, OffsetOutOfRange, TopicAlreadyExists, UnknownTopicOrPartition
from kgw_core.spi.hookspecs import hookimpl
from kgw_core.spi.storage import (
    Batch,
    Bounds,
    LogStore,
    OffsetConflict,
    Run,
    Topic,
    TopicConflict,
    TopicPartition,
)


@dataclass
class Log:
    start: int = 0
    end: int = 0
    batches: list[Batch] = field(default_factory=list)


class DictStore(LogStore):
    """Keeps batches in a dictionary, up to a number of them."""

    name = "dict"

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        max_batches: int = 1_000_000

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self._max_batches = (config or self.Config()).max_batches
        self._topics: dict[UUID, Topic] = {}
        self._logs: dict[TopicPartition, Log] = {}

    async def topics(self) -> Sequence[Topic]:
        return list(self._topics.values())

    async def create_topic(self, topic: Topic) -> None:
        if topic.name in [known.name for known in self._topics.values()]:
            raise TopicAlreadyExists(f"there is a topic {topic.name}")
        self._put_topic(topic)

    async def update_topic(self, topic: Topic, before: Topic) -> None:
        if topic.id not in self._topics:
            raise UnknownTopicOrPartition(f"there is no topic with the id {topic.id}")
        if self._topics[topic.id] != before:
            raise TopicConflict(self._topics[topic.id])
        self._put_topic(topic)

    def _put_topic(self, topic: Topic) -> None:
        self._topics[topic.id] = topic
        for partition in range(topic.partitions):
            self._logs.setdefault(TopicPartition(topic.name, topic.id, partition), Log())

    async def delete_topic(self, topic_id: UUID) -> None:
        del self._topics[topic_id]
        for tp in [tp for tp in self._logs if tp.topic_id == topic_id]:
            del self._logs[tp]

    def _log(self, tp: TopicPartition) -> Log:
        if tp not in self._logs:
            raise UnknownTopicOrPartition(f"there is no {tp} with the id {tp.topic_id}")
        return self._logs[tp]

    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        log = self._log(tp)
        base = batches[0].base_offset
        if base != log.end:
            raise OffsetConflict(base, log.end)
        if len(log.batches) + len(batches) > self._max_batches:
            raise KafkaStorageError(f"{tp} is full: it holds {len(log.batches)} batches")
        log.batches += [batch._replace(data=bytes(batch.data)) for batch in batches]
        log.end = batches[-1].base_offset + batches[-1].span
        return [batch.base_offset for batch in batches]

    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        log = self._log(tp)
        if not log.start <= offset <= log.end:
            raise OffsetOutOfRange(f"{tp} holds {log.start}..{log.end}, not {offset}")
        runs: list[Run] = []
        for batch in log.batches:
            next_offset = batch.base_offset + batch.span
            if next_offset <= offset:
                continue
            max_bytes -= len(batch.data)
            if (runs and max_bytes < 0) or (below is not None and next_offset > below):
                break
            runs.append(Run(batch.base_offset, next_offset, batch.data))
        return runs

    async def bounds(self, tp: TopicPartition) -> Bounds:
        log = self._log(tp)
        return Bounds(log.start, log.end, size=sum(len(batch.data) for batch in log.batches))

    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        log = self._log(tp)
        if before > log.end:
            raise OffsetOutOfRange(f"{tp} ends at {log.end}")
        log.start = max(log.start, before)
        log.batches = [batch for batch in log.batches if batch.base_offset + batch.span > log.start]

    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        batches = (batch for batch in self._log(tp).batches if batch.base_offset + batch.span > offset)
        return next((batch.write_time for batch in batches), -1)


@hookimpl
def kgw_register_storage() -> list[type[LogStore]]:
    return [DictStore]
