"""Stores that break a promise about reads, trims, times or replacing."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from dataclasses import replace

from broken_base import Broken, caught_by, pieces

from kgw_core.errors import OffsetOutOfRange
from kgw_core.records import build_batch, iter_batches, iter_records
from kgw_core.records.segments import Segments
from kgw_core.spi.storage import (
    Batch,
    Bounds,
    Capabilities,
    Read,
    Run,
    Topic,
    TopicPartition,
)

# -- reads


@caught_by("nothing_beyond_the_upper_bound_is_read")
class ReadsBeyondTheBound(Broken):
    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return super().read_now(tp, offset, max_bytes)


@caught_by("a_read_in_the_middle_of_a_batch_starts_with_that_batch")
class SkipsTheBatchInTheMiddle(Broken):
    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return [
            run for run in pieces(super().read_now(tp, offset, max_bytes, below)) if run.base_offset >= offset
        ]


@caught_by("the_first_batch_comes_whole_even_where_it_exceeds_max_bytes")
class GivesNothingWhereTheFirstIsTooLarge(Broken):
    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        runs = super().read_now(tp, offset, max_bytes, below)
        return runs if sum(len(run.data) for run in runs) <= max_bytes else []


@caught_by("a_read_stops_before_it_would_exceed_max_bytes")
class ExceedsMaxBytes(Broken):
    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return super().read_now(tp, offset, max_bytes + 60)


@caught_by("a_read_stops_before_it_would_exceed_max_bytes")
class StopsTooEarly(Broken):
    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return super().read_now(tp, offset, max_bytes - 1)


@caught_by("reading_on_from_next_offset_gives_the_whole_log")
class GoesOnTooFar(Broken):
    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        runs = list(super().read_now(tp, offset, max_bytes, below))
        if runs and runs[-1].next_offset < self._log(tp).end:
            runs[-1] = runs[-1]._replace(next_offset=runs[-1].next_offset + 3)
        return runs


@caught_by("what_headers_say_of_records_and_producers_survives")
class ForgetsWhoProduced(Broken):
    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return replace(super().capabilities(topic), preserves_batches=False)

    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        runs = []
        for run in pieces(super().read_now(tp, offset, max_bytes, below)):
            [batch] = iter_batches(run.data)
            data = build_batch(
                [(record.key, record.value, record.timestamp) for record in iter_records(batch)],
                base_offset=run.base_offset,
            )
            runs.append(run._replace(data=data))
        return runs


@caught_by("at_the_end_there_is_nothing")
class RaisesAtTheEnd(Broken):
    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        if offset == self._log(tp).end:
            raise OffsetOutOfRange("the end")
        return super().read_now(tp, offset, max_bytes, below)


@caught_by("a_read_outside_the_log_is_out_of_range")
class GivesNothingOutside(Broken):
    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return [] if offset > self._log(tp).end else super().read_now(tp, offset, max_bytes, below)


@caught_by("read_many_gives_each_log_its_own_result")
class RaisesFromReadMany(Broken):
    async def read_many(self, reads: Sequence[Read]) -> list[Sequence[Run] | Exception]:
        return [self.read_now(*read) for read in reads]


@caught_by("read_now_is_read_without_waiting")
class ReadNowIgnoresMaxBytes(Broken):
    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return super().read_now(tp, offset, max_bytes, below)

    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return super().read_now(tp, offset, 1 << 20)


# -- trims


@caught_by("a_trim_at_a_batch_makes_it_the_first")
class ReadsWhatWasTrimmed(Broken):
    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        self._log(tp).start = before

    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        log = self._log(tp)
        start, log.start = log.start, 0
        try:
            return log.read(offset, max_bytes)
        finally:
            log.start = start


@caught_by("a_trim_inside_a_batch_keeps_that_batch_readable")
class StartsAtTheBatch(Broken):
    async def bounds(self, tp: TopicPartition) -> Bounds:
        bounds = await super().bounds(tp)
        runs = self.everything(tp)
        return bounds._replace(start=runs[0].base_offset if runs else bounds.end)


@caught_by("a_trim_inside_a_batch_keeps_that_batch_readable")
class DropsTheBatchThatContainsTheStart(Broken):
    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        await super().trim(tp, before, epoch)
        inside = [run for run in self.everything(tp) if run.base_offset < before]
        if inside:
            self._log(tp).trim(inside[0].next_offset)
            self._log(tp).start = before


@caught_by("a_log_trimmed_to_its_end_is_empty_and_goes_on")
class EndGoesBackAfterTrim(Broken):
    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        await super().trim(tp, before, epoch)
        if not self.everything(tp):
            self._logs[tp] = Segments()


@caught_by("a_trim_below_the_start_changes_nothing")
class StartGoesBack(Broken):
    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        await super().trim(tp, before, epoch)
        self._log(tp).start = before


@caught_by("a_trim_above_the_end_is_out_of_range")
class TrimsAboveTheEnd(Broken):
    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        await super().trim(tp, min(before, self._log(tp).end))


@caught_by("a_trim_leaves_other_logs_alone")
class TrimsEveryPartition(Broken):
    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        for log in self._logs.values():
            log.trim(before)


@caught_by("trims_of_a_long_log_go_step_by_step")
class TrimsTooMuchInALongLog(Broken):
    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        await super().trim(tp, before, epoch)
        if self._log(tp).end > 350:
            self._log(tp).drop_oldest(self._log(tp).size // 2)


@caught_by("what_comes_after_a_trim_to_the_end_stays")
class DeletesLaterAndTooMuch(Broken):
    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        log = self._log(tp)
        await super().trim(tp, before, epoch)
        asyncio.get_running_loop().call_later(0.005, log.drop_oldest, 0)


# -- times


class Timed(Broken):
    """Looks for times in a list of (base offset, timestamp)."""

    def times(self, tp: TopicPartition) -> list[tuple[int, int]]:
        log = self._log(tp)
        return [
            (b.base_offset, b.max_timestamp)
            for r in log.read(log.start, 1 << 40)
            for b in iter_batches(r.data)
        ]

    async def find_time(self, tp: TopicPartition, timestamp: int) -> int | None:
        return next((base for base, time in self.times(tp) if time >= timestamp), None)

    async def find_max_time(
        self, tp: TopicPartition, start: int | None = None, end: int | None = None
    ) -> int | None:
        counts = self._log(tp).find_max_time(start, end)
        if counts is None:
            return None
        times = [entry for entry in self.times(tp) if end is None or entry[0] < end]
        return max(times, key=lambda entry: entry[1])[0]


@caught_by("find_time_gives_the_first_batch_at_or_after_a_time")
class FindsOnlyLaterTimes(Timed):
    async def find_time(self, tp: TopicPartition, timestamp: int) -> int | None:
        return await super().find_time(tp, timestamp + 1)


@caught_by("find_time_takes_the_first_in_the_log_where_times_are_not_ascending")
class FindsTheNearestTime(Timed):
    async def find_time(self, tp: TopicPartition, timestamp: int) -> int | None:
        later = [(time, base) for base, time in self.times(tp) if time >= timestamp]
        return min(later)[1] if later else None


@caught_by("batches_without_a_time_are_never_at_or_after_one")
class TakesNoTimeForNow(Timed):
    def times(self, tp: TopicPartition) -> list[tuple[int, int]]:
        return [(base, time if time >= 0 else 1 << 62) for base, time in super().times(tp)]


@caught_by("find_max_time_gives_the_first_of_the_latest")
class FindsTheLastOfTheLatest(Timed):
    async def find_max_time(
        self, tp: TopicPartition, start: int | None = None, end: int | None = None
    ) -> int | None:
        return max(self.times(tp), key=lambda entry: (entry[1], entry[0]))[0] if self.times(tp) else None


@caught_by("an_empty_log_has_no_times")
class FindsATimeInAnEmptyLog(Timed):
    async def find_max_time(
        self, tp: TopicPartition, start: int | None = None, end: int | None = None
    ) -> int | None:
        return await super().find_max_time(tp, start, end) or 0


@caught_by("trimmed_batches_are_not_found_by_time", "a_replaced_log_is_trimmed_and_searched_like_any_other")
class RemembersEveryTime(Timed):
    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[TopicPartition, list[tuple[int, int]]] = {}

    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        self.seen.setdefault(tp, []).extend((batch.base_offset, batch.max_timestamp) for batch in batches)
        return super().append_now(tp, batches, epoch)

    def times(self, tp: TopicPartition) -> list[tuple[int, int]]:
        return self.seen.get(tp, [])


@caught_by("times_are_found_in_a_long_log")
class LooksAtSomeTimesOnly(Timed):
    def times(self, tp: TopicPartition) -> list[tuple[int, int]]:
        return super().times(tp)[:250]


@caught_by("find_max_time_takes_only_what_lies_in_a_range")
class LooksAtEverything(Timed):
    async def find_max_time(
        self, tp: TopicPartition, start: int | None = None, end: int | None = None
    ) -> int | None:
        return await super().find_max_time(tp)


@caught_by("times_before_1970_are_times_like_others")
class StartsAtNoTime(Timed):
    async def find_max_time(
        self, tp: TopicPartition, start: int | None = None, end: int | None = None
    ) -> int | None:
        latest = max((time for _, time in self.times(tp)), default=-2)
        return await super().find_max_time(tp, start, end) if latest >= -1 else None


# -- write times


@caught_by("a_batch_was_written_when_the_core_took_it")
class RoundsWriteTimesDown(Broken):
    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        return await super().write_time(tp, offset) - 1


@caught_by(
    "what_was_written_long_before_is_not_as_young_as_the_last", "where_nothing_was_written_there_is_no_time"
)
class KnowsTheLastWriteOnly(Broken):
    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        return await super().write_time(tp, self._log(tp).end - 1)


@caught_by("of_several_batches_in_one_append_none_is_too_old")
class TakesTheFirstOfAnAppend(Broken):
    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        first = batches[0].write_time
        return super().append_now(tp, [batch._replace(write_time=first) for batch in batches])


@caught_by("write_times_stay_with_their_batches_over_trims")
class CountsFromTheStart(Broken):
    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        return await super().write_time(tp, max(offset - self._log(tp).start, 0))


@caught_by("what_replaces_a_batch_was_written_when_that_was")
class ReplacementsAreNew(Broken):
    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch], epoch: int = 0
    ) -> bool:
        log = self._log(tp)
        newest = log.write_time(log.end - 1)
        await super().replace(tp, first, last, batches, epoch)
        for segment in log._segments[log._index(first) : log._index(last) + 1]:
            segment.written = newest
            segment.writes = array("q", [newest] * len(segment.writes))
        return True


# -- compaction


@caught_by("replaced_batches_give_way_to_the_new_ones")
class ReplacesNothing(Broken):
    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch], epoch: int = 0
    ) -> bool:
        return True


@caught_by("a_read_in_a_gap_starts_with_the_next_batch")
class ReadsNothingInAGap(Broken):
    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        runs = super().read_now(tp, offset, max_bytes, below)
        return [] if runs and runs[0].base_offset > offset else runs


@caught_by("batches_may_be_replaced_by_nothing")
class MovesTheStartWhenReplacing(Broken):
    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch], epoch: int = 0
    ) -> bool:
        await super().replace(tp, first, last, batches, epoch)
        self._log(tp).start = self.everything(tp)[0].base_offset
        return True


@caught_by("a_log_that_is_not_there_is_not_replaced")
class ReplacesInNoLog(Broken):
    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch], epoch: int = 0
    ) -> bool:
        return True
