"""Stores that break a promise about topics or appends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from broken_base import Broken, caught_by, pieces

from kgw_core.errors import KafkaStorageError
from kgw_core.records.segments import Segments
from kgw_core.spi.storage import (
    Append,
    Batch,
    Bounds,
    OffsetConflict,
    Run,
    Topic,
    TopicPartition,
)

# -- topics


@caught_by("the_class_says_what_it_is")
class BadName(Broken):
    name = " Memory"


@caught_by("an_open_store_answers_ping")
class PingsOnce(Broken):
    pinged = False

    async def ping(self) -> None:
        if self.pinged:
            raise KafkaStorageError("gone")
        self.pinged = True


@caught_by("a_new_topic_is_listed_and_its_logs_are_empty", "an_update_adds_partitions_and_replaces_configs")
class ForgetsConfigs(Broken):
    async def topics(self) -> Sequence[Topic]:
        return [Topic(topic.name, topic.id, topic.partitions) for topic in self._topics.values()]


@caught_by("a_name_that_is_taken_is_refused")
class TakesANameTwice(Broken):
    async def create_topic(self, topic: Topic) -> None:
        self._topics[topic.id] = topic
        self._make_logs(topic, 0)


@caught_by("an_update_adds_partitions_and_replaces_configs")
class EmptiesLogsOnUpdate(Broken):
    async def update_topic(self, topic: Topic, before: Topic) -> None:
        self._topics[topic.id] = topic
        self._make_logs(topic, 0)


@caught_by("an_update_of_a_topic_that_others_have_changed_writes_nothing")
class OverwritesTheChangesOfOthers(Broken):
    async def update_topic(self, topic: Topic, before: Topic) -> None:
        await super().update_topic(topic, self._topics[topic.id])


@caught_by("a_deleted_topic_and_its_logs_are_unknown")
class KeepsLogsOfDeletedTopics(Broken):
    async def delete_topic(self, topic_id: UUID) -> None:
        del self._topics[topic_id]


@caught_by("a_partition_that_was_never_made_is_unknown")
class MakesPartitionsOnDemand(Broken):
    async def bounds(self, tp: TopicPartition) -> Bounds:
        self._logs.setdefault(tp, Segments())
        return await super().bounds(tp)


@caught_by("leader_epochs_of_new_logs_are_known")
class HasEpochsThatNobodyKnows(Broken):
    async def bounds(self, tp: TopicPartition) -> Bounds:
        return (await super().bounds(tp))._replace(epoch=3)


@caught_by("a_topic_made_again_is_a_fresh_log_under_a_new_id")
class ReusesTheLogOfTheSameName(Broken):
    old: Segments | None = None

    async def delete_topic(self, topic_id: UUID) -> None:
        self.old = next(log for tp, log in self._logs.items() if tp.topic_id == topic_id)
        await super().delete_topic(topic_id)

    async def create_topic(self, topic: Topic) -> None:
        await super().create_topic(topic)
        if self.old:
            self._logs[TopicPartition(topic.name, topic.id, 0)] = self.old


@caught_by("what_was_read_stays_as_it_was_after_a_delete")
class WipesOnDelete(Broken):
    def __init__(self) -> None:
        super().__init__()
        self.given: list[bytearray] = []

    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        runs = [
            run._replace(data=bytearray(run.data)) for run in super().read_now(tp, offset, max_bytes, below)
        ]
        self.given += [run.data for run in runs if isinstance(run.data, bytearray)]
        return runs

    async def delete_topic(self, topic_id: UUID) -> None:
        await super().delete_topic(topic_id)
        for data in self.given:
            data[:] = bytes(len(data))


# -- appends


@caught_by("what_is_appended_is_read_again")
class ReadsBackwards(Broken):
    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return pieces(super().read_now(tp, offset, max_bytes, below))[::-1]


@caught_by("batches_come_back_byte_for_byte")
class StampsItsOwnEpoch(Broken):
    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        runs = pieces(super().read_now(tp, offset, max_bytes, below))
        return [run._replace(data=bytes(run.data[:12]) + bytes(4) + bytes(run.data[16:])) for run in runs]


@caught_by("several_batches_are_one_append")
class ReturnsTheFirstBase(Broken):
    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        return (await super().append(tp, batches, epoch))[:1]


def restamp(batches: Sequence[Batch], end: int) -> list[Batch]:
    moved = []
    for batch in batches:
        moved.append(batch._replace(base_offset=end, data=end.to_bytes(8, "big") + bytes(batch.data[8:])))
        end += batch.span
    return moved


@caught_by("an_append_that_is_not_at_the_end_writes_nothing")
class RestampsSilently(Broken):
    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        return super().append_now(tp, restamp(batches, self._log(tp).end))


@caught_by("an_append_that_is_not_at_the_end_writes_nothing")
class ReportsAnotherEnd(Broken):
    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        try:
            return super().append_now(tp, batches, epoch)
        except OffsetConflict as conflict:
            raise OffsetConflict(conflict.expected, conflict.end - 1) from None


@caught_by("a_batch_of_megabytes_is_stored")
class RefusesAMebibyte(Broken):
    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        if any(len(batch.data) > 1 << 20 for batch in batches):
            raise KafkaStorageError("too large")
        return super().append_now(tp, batches, epoch)


@caught_by("bytes_may_change_after_an_append_unless_they_are_stable")
class KeepsUnstableBytes(Broken):
    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        return super().append_now(tp, [batch._replace(stable=True) for batch in batches])


@caught_by("data_may_be_a_view_of_a_larger_frame")
class KeepsTheWholeFrame(Broken):
    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        frames = [
            batch._replace(data=batch.data.obj) if isinstance(batch.data, memoryview) else batch
            for batch in batches
        ]
        return super().append_now(tp, frames)


@caught_by("append_many_gives_each_log_its_own_result")
class StopsAtTheFirstError(Broken):
    async def append_many(self, appends: Sequence[Append]) -> list[Sequence[int] | Exception]:
        results = await super().append_many(appends[:2])
        return results + [KafkaStorageError("not tried")] * (len(appends) - 2)


@caught_by("a_conflict_in_append_many_is_that_logs_own")
class RestampsInAppendMany(Broken):
    async def append_many(self, appends: Sequence[Append]) -> list[Sequence[int] | Exception]:
        return await super().append_many(
            [Append(a.tp, restamp(a.batches, self._log(a.tp).end)) for a in appends]
        )


@caught_by("append_now_is_append_without_waiting")
class AppendNowKeepsTheFirst(Broken):
    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        super().append_now(tp, batches[:1], epoch)


@caught_by("an_append_that_has_raised_lands_no_more")
class Late(Broken):
    """Gives up waiting for its engine, which appends all the same, a little later."""

    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        if self.full:
            asyncio.get_running_loop().call_later(0.05, self.append_now, tp, batches, epoch)
            raise TimeoutError("no answer")
        return await super().append(tp, batches, epoch)


@caught_by("an_append_that_fails_leaves_all_or_nothing")
class AppendsHalf(Broken):
    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        if self.full:
            super().append_now(tp, batches[:1])
            raise OSError("full")
        return super().append_now(tp, batches, epoch)


@caught_by("an_append_that_fails_leaves_all_or_nothing")
class SaysNothingWasWritten(Broken):
    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        super().append_now(tp, batches, epoch)
        if self.full:
            raise KafkaStorageError("full")


# -- fences


@caught_by("a_fence_says_where_the_log_stands")
class ForgetsTheEpoch(Broken):
    async def fence(self, tp: TopicPartition, epoch: int) -> Bounds:
        return await self.bounds(tp)


@caught_by("who_leads_no_more_writes_nothing")
class TrimsForAnybody(Broken):
    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        await super().trim(tp, before, self.leader_epoch(tp))


@caught_by("a_fence_is_of_one_log")
class FencesTheWholeTopic(Broken):
    async def fence(self, tp: TopicPartition, epoch: int) -> Bounds:
        for log in list(self._logs):
            if log.topic_id == tp.topic_id:
                await super().fence(log, epoch)
        return await super().fence(tp, epoch)
