"""Stores that break a promise about doing things at the same time, or about being durable."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from anyio.lowlevel import checkpoint
from broken_base import Broken, caught_by
from file_store import FileLog, FileStore

from kgw_core.errors import UnknownTopicOrPartition
from kgw_core.records.segments import Segments
from kgw_core.spi.context import StoreContext
from kgw_core.spi.storage import (
    Batch,
    Bounds,
    Run,
    Topic,
    TopicPartition,
)

# -- at the same time


@caught_by("a_thousand_partitions_keep_their_logs_apart")
class HasRoomFor512Partitions(Broken):
    def _log(self, tp: TopicPartition) -> Segments:
        if tp.partition >= 512:
            tp = TopicPartition(tp.topic, tp.topic_id, tp.partition - 512)
        return super()._log(tp)


@caught_by("appends_to_many_logs_and_reads_of_them_go_on_at_the_same_time")
class HasOneCurrentLog(Broken):
    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        self.current = tp
        await checkpoint()
        return self.read_now(self.current, min(offset, self._log(self.current).end), max_bytes)


@caught_by("a_read_cancelled_while_it_waits_leaves_the_store_usable")
class LeavesALockBehind(Broken):
    def __init__(self) -> None:
        super().__init__()
        self.locked: set[TopicPartition] = set()

    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        if tp in self.locked:
            raise UnknownTopicOrPartition("locked for ever")
        self.locked.add(tp)
        await checkpoint()
        self.locked.discard(tp)
        return self.read_now(tp, offset, max_bytes)


@caught_by("topics_come_and_go_while_others_are_used")
class LosesTopicsMadeAtTheSameTime(Broken):
    async def create_topic(self, topic: Topic) -> None:
        topics = dict(self._topics)
        await checkpoint()
        self._topics = {**topics, topic.id: topic}
        self._make_logs(topic, 0)


@caught_by("nothing_blocks_the_event_loop")
class Sleeps(Broken):
    async def bounds(self, tp: TopicPartition) -> Bounds:
        time.sleep(0.0001)  # noqa: ASYNC251
        return await super().bounds(tp)


# -- durable


@caught_by("everything_is_there_after_reopening")
class ForgetsTrims(FileStore):
    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        self._log(tp).segments.trim(before)


class ShrinkingLog(FileLog):
    def apply(self, operation: str, *arguments: object) -> None:
        super().apply(operation, *arguments)
        if not self.segments.size:
            os.ftruncate(self.file, 0)


@caught_by("the_end_does_not_go_back_after_trimming_all_and_reopening")
class KnowsTheEndByItsBatches(FileStore):
    log_class = ShrinkingLog


@caught_by("a_deleted_topic_stays_deleted_after_reopening")
class BringsDeletedTopicsBack(FileStore):
    async def delete_topic(self, topic_id: UUID) -> None:
        topic = self._topics[topic_id]
        await super().delete_topic(topic_id)
        self._topics[topic_id] = topic
        await self._save()
        del self._topics[topic_id]


@caught_by("replaced_batches_stay_replaced_after_reopening")
class ReplacesInMemoryOnly(FileStore):
    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch], epoch: int = 0
    ) -> bool:
        self._log(tp).segments.replace(first, last, batches)
        return True


class ForgetfulLog(FileLog):
    def write_frame(self, operation: str, *arguments: Any) -> None:
        if operation == "append":
            arguments = tuple(batch[:5] for batch in arguments)
        super().write_frame(operation, *arguments)


@caught_by("write_times_are_there_after_reopening")
class KeepsWriteTimesInMemoryOnly(FileStore):
    log_class = ForgetfulLog


@caught_by("leader_epochs_are_known_after_reopening")
class LearnsEpochsLater(FileStore):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: set[TopicPartition] = set()

    async def bounds(self, tp: TopicPartition) -> Bounds:
        self.asked.add(tp)
        return (await super().bounds(tp))._replace(epoch=2)

    def leader_epoch(self, tp: TopicPartition) -> int:
        return 2 if tp in self.asked else 0


@caught_by("kill_during_appends_loses_nothing_that_was_acknowledged")
class AcknowledgesBeforeItWrites(FileStore):
    """It writes every tenth append, and what is left when it is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.waiting: dict[TopicPartition, list[Any]] = {}

    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        waiting = self.waiting.setdefault(tp, [])
        waiting += batches
        self._log(tp).apply("append", *batches)
        if len(waiting) >= 30:
            self._log(tp).write_frame("append", *[tuple(batch) for batch in waiting])
            waiting.clear()
        return batches[0].base_offset

    async def close(self) -> None:
        for tp, waiting in self.waiting.items():
            self._log(tp).write_frame("append", *[tuple(batch) for batch in waiting])
        await super().close()


class TearingLog(FileLog):
    def write_frame(self, operation: str, *arguments: object) -> None:
        if operation == "append":
            first, *others = arguments
            super().write_frame(operation, first)
            for batch in others:  # nearly always in the midst of one
                time.sleep(0.01)
                super().write_frame(operation, batch)
        else:
            super().write_frame(operation, *arguments)


@caught_by("kill_during_appends_loses_nothing_that_was_acknowledged")
class WritesBatchByBatch(FileStore):
    log_class = TearingLog


@caught_by("a_fence_outlasts_reopening")
class ForgetsFencesWhenClosed(FileStore):
    async def open(self, context: StoreContext | None = None) -> None:
        await super().open(context)
        for log in self._logs.values():
            log.epoch = 0
