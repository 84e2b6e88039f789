"""Look-ups by time: batches, by the largest timestamp in each."""

from __future__ import annotations

from kgw_core.spi.storage import TopicPartition
from kgw_core.testing.log_store.base import Bench, SuiteBase, only


class Times(SuiteBase):
    """`find_time` and `find_max_time`, the store's own or the ones it inherits."""

    async def _log(self, bench: Bench, times: list[int]) -> TopicPartition:
        """Two records a batch: batch number n starts at offset 2n."""
        tp = await bench.log()
        for time in times:
            await bench.fill(tp, [2], timestamp=time)
        return tp

    @only("preserves_batches")
    async def test_find_time_gives_the_first_batch_at_or_after_a_time(self, bench: Bench) -> None:
        """At a batch's own time, between two, before the first; None after the last."""
        tp = await self._log(bench, [100, 200, 300, 400])
        found = [await bench.store.find_time(tp, t) for t in (0, 100, 101, 200, 399, 400, 401)]
        assert found == [0, 0, 2, 2, 6, 6, None]

    @only("preserves_batches")
    async def test_find_time_takes_the_first_in_the_log_where_times_are_not_ascending(
        self, bench: Bench
    ) -> None:
        """Producers' clocks differ: the lowest offset counts, not the nearest time."""
        tp = await self._log(bench, [100, 500, 200, 500, 300, 600, 50])
        found = [await bench.store.find_time(tp, t) for t in (100, 101, 500, 501, 601)]
        assert found == [0, 2, 2, 10, None]

    @only("preserves_batches")
    async def test_batches_without_a_time_are_never_at_or_after_one(self, bench: Bench) -> None:
        """-1 is before every time."""
        tp = await self._log(bench, [-1, -1, 100, -1])
        assert await bench.store.find_time(tp, 0) == 4
        assert await bench.store.find_time(tp, 101) is None
        assert await bench.store.find_max_time(tp) == 4

    @only("preserves_batches")
    async def test_find_max_time_gives_the_first_of_the_latest(self, bench: Bench) -> None:
        """Not the last batch, and of two with the same time the first."""
        tp = await self._log(bench, [100, 300, 200, 300, 250])
        assert await bench.store.find_max_time(tp) == 2
        await bench.fill(tp, [2], timestamp=301)
        assert await bench.store.find_max_time(tp) == 10

    @only("preserves_batches")
    async def test_find_max_time_takes_only_what_lies_in_a_range(self, bench: Bench) -> None:
        """From the batch that holds the start to the last that begins below the end."""
        tp = await self._log(bench, [900, 100, 300, 200, 300, 800, 50])
        ranges = [
            (None, 10),
            (1, 10),
            (2, 10),
            (3, 10),
            (6, None),
            (12, None),
            (4, 9),
            (0, 1),
            (2, 2),
            (0, 0),
            (14, 14),
        ]
        found = [await bench.store.find_max_time(tp, start, end) for start, end in ranges]
        assert found == [0, 0, 4, 4, 10, 12, 4, 0, None, None, None]
        await bench.store.trim(tp, 3)
        assert await bench.store.find_max_time(tp, 0, 10) == 4

    @only("preserves_batches")
    async def test_times_before_1970_are_times_like_others(self, bench: Bench) -> None:
        """The largest of negative ones is found, too."""
        tp = await self._log(bench, [-5_000, -62_135_596_800_000, -4_000, -9_000])
        assert await bench.store.find_max_time(tp) == 4
        assert await bench.store.find_time(tp, 0) is None
        await bench.fill(tp, [2], timestamp=0)
        assert await bench.store.find_max_time(tp) == 8
        assert await bench.store.find_time(tp, 0) == 8

    async def test_an_empty_log_has_no_times(self, bench: Bench) -> None:
        """None both times, also after everything was trimmed."""
        tp = await bench.log()
        assert await bench.store.find_time(tp, 0) is None
        assert await bench.store.find_max_time(tp) is None
        await bench.fill(tp, [2, 2])
        await bench.store.trim(tp, 4)
        assert await bench.store.find_time(tp, 0) is None
        assert await bench.store.find_max_time(tp) is None

    @only("preserves_batches")
    async def test_trimmed_batches_are_not_found_by_time(self, bench: Bench) -> None:
        """Removed batches do not count; the remaining ones do, with their own times."""
        tp = await self._log(bench, [900, 100, 800, 200, 300])
        await bench.store.trim(tp, 6)
        assert await bench.store.find_time(tp, 0) == 6
        assert await bench.store.find_time(tp, 250) == 8
        assert await bench.store.find_time(tp, 301) is None
        assert await bench.store.find_max_time(tp) == 8

    @only("preserves_batches")
    async def test_times_are_found_in_a_long_log(self, bench: Bench) -> None:
        """300 batches with times that go up and down: the answers of a plain search."""
        times = [1_000 + (n * 7919) % 613 + n for n in range(300)]
        tp = await self._log(bench, times)
        for time in range(990, 1_950, 37):
            expected = next((2 * n for n, t in enumerate(times) if t >= time), None)
            assert await bench.store.find_time(tp, time) == expected
        assert await bench.store.find_max_time(tp) == 2 * times.index(max(times))
