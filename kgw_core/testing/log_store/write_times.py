"""When batches were written: what records without a time of their own age by."""

from __future__ import annotations

import pytest

from kgw_core.spi.storage import TopicPartition
from kgw_core.testing.batches import make_batch
from kgw_core.testing.log_store.base import Bench, SuiteBase, only, overriding

HOUR = 3_600_000
NOW = 1_700_000_000_000
PIECE = 1 << 20
"""Bytes at most that are kept in one piece."""


class WriteTimes(SuiteBase):
    """`write_time`: as it was told at the append, or at that of a batch close behind."""

    async def _hourly(self, bench: Bench, count: int, size: int = 100) -> TopicPartition:
        """Two records a batch, the first written at NOW, each one hour later than the one before."""
        tp = await bench.log()
        for hour in range(count):
            await bench.fill(tp, [2], size=size, write_time=NOW + hour * HOUR)
        return tp

    async def _hour(self, bench: Bench, tp: TopicPartition, offset: int) -> int:
        return (await bench.store.write_time(tp, offset) - NOW) // HOUR

    async def _check_hours(
        self, bench: Bench, tp: TopicPartition, start: int, count: int, size: int = 100
    ) -> None:
        """Each of the batches that are left tells its own hour, or one that is at most a piece behind it."""
        for offset in range(start, 2 * count):
            latest = min(offset // 2 + PIECE // size, count - 1)
            assert offset // 2 <= await self._hour(bench, tp, offset) <= latest, offset

    @overriding("write_time")
    async def test_a_batch_was_written_when_the_core_took_it(self, bench: Bench) -> None:
        """Never before; a store that keeps it by stretch says when the last of the stretch was."""
        await self._check_hours(bench, await self._hourly(bench, 100), 0, 100)

    @overriding("write_time")
    async def test_what_was_written_long_before_is_not_as_young_as_the_last(self, bench: Bench) -> None:
        """A stretch has an end."""
        tp = await self._hourly(bench, 24, PIECE // 8)
        await self._check_hours(bench, tp, 0, 24, PIECE // 8)

    @overriding("write_time")
    async def test_of_several_batches_in_one_append_none_is_too_old(self, bench: Bench) -> None:
        """They have waited for different times: each has its own, or that of the last."""
        tp = await bench.log()
        spans = [1, 3, 2]
        bases = [0, 1, 4]
        await bench.store.append(
            tp,
            [
                bench.make(base, span, write_time=NOW + number * HOUR)
                for number, (base, span) in enumerate(zip(bases, spans, strict=True))
            ],
        )
        for number, base in enumerate(bases):
            assert number <= await self._hour(bench, tp, base) <= 2

    @overriding("write_time")
    async def test_where_nothing_was_written_there_is_no_time(self, bench: Bench) -> None:
        """-1 for an empty log, at the end, after a trim of everything, and for a batch that came without."""
        tp = await bench.log()
        assert await bench.store.write_time(tp, 0) == -1
        await bench.fill(tp, [2], write_time=NOW)
        assert await bench.store.write_time(tp, 2) == -1
        await bench.store.trim(tp, 2)
        assert await bench.store.write_time(tp, 0) == -1
        assert await bench.store.write_time(tp, 2) == -1
        await bench.fill(tp, [2])
        assert await bench.store.write_time(tp, 2) == -1

    @overriding("write_time")
    async def test_write_times_stay_with_their_batches_over_trims(self, bench: Bench) -> None:
        """Also that of a batch whose first records are gone; offsets before the start stand for the start."""
        tp = await self._hourly(bench, 40)
        await bench.store.trim(tp, 21)
        await self._check_hours(bench, tp, 21, 40)
        assert await self._hour(bench, tp, 0) == await self._hour(bench, tp, 21)

    @only("preserves_batches")
    @overriding("write_time")
    async def test_what_replaces_a_batch_was_written_when_that_was(self, bench: Bench) -> None:
        """Compaction makes nothing older, and nothing younger than what it puts into one piece."""
        size = PIECE // 8
        tp = await self._hourly(bench, 64, size)
        new = [make_batch(base, 2, size=70, tag="new") for base in range(8, 80, 4)]
        if not await bench.store.replace(tp, 8, 81, new):
            pytest.skip(f"{bench.store.name} keeps everything: replace returned False")
        for offset in range(128):
            hour = offset // 2
            if 8 <= offset < 80 and offset % 4 > 1:  # a gap
                assert await self._hour(bench, tp, offset) == await self._hour(bench, tp, offset // 4 * 4 + 4)
            else:
                assert hour <= await self._hour(bench, tp, offset) <= max(hour, 41 if hour < 41 else 0) + 8

    @only("durable")
    @overriding("write_time")
    async def test_write_times_are_there_after_reopening(self, bench: Bench) -> None:
        """As they were."""
        tp = await self._hourly(bench, 100)
        before = [await bench.store.write_time(tp, offset) for offset in range(200)]
        await bench.reopen()
        assert [await bench.store.write_time(tp, offset) for offset in range(200)] == before
        await self._check_hours(bench, tp, 0, 100)
