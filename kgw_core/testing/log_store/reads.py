"""Reads: where they start, where they stop, and the errors for wrong offsets."""

from __future__ import annotations

import pytest

from kgw_core.errors import OffsetOutOfRange, UnknownTopicOrPartition
from kgw_core.spi.storage import Read, TopicPartition
from kgw_core.testing.batches import stored_batches
from kgw_core.testing.log_store.base import Bench, SuiteBase, check_runs, only, sizes


class Reads(SuiteBase):
    """Promise 8."""

    async def test_a_read_in_the_middle_of_a_batch_starts_with_that_batch(self, bench: Bench) -> None:
        """At every offset of the log, the first batch is the one that holds the offset, not the next."""
        tp = await bench.log()
        await bench.fill(tp, [5, 1, 3, 10, 2, 7])
        for offset in range(28):
            runs = await bench.store.read(tp, offset, 1 << 20)
            check_runs(runs)
            base, last, _ = stored_batches(runs)[0]
            assert base <= offset <= last
            assert runs[-1].next_offset == 28

    async def test_the_first_batch_comes_whole_even_where_it_exceeds_max_bytes(self, bench: Bench) -> None:
        """With room for nothing, there is one batch all the same, or a consumer would never get past it."""
        tp = await bench.log()
        await bench.fill(tp, [1, 4, 1], size=3_000)
        for max_bytes in (0, 1, 100):
            for offset in (0, 1, 3, 5):
                runs = await bench.store.read(tp, offset, max_bytes)
                check_runs(runs)
                [(base, last, _)] = stored_batches(runs)
                assert base <= offset <= last
                assert runs[0].next_offset == last + 1

    @only("preserves_batches")
    async def test_a_read_stops_before_it_would_exceed_max_bytes(self, bench: Bench) -> None:
        """As many whole batches as fit, to the byte: not one more, not one less."""
        tp = await bench.log()
        written = await bench.fill(tp, [1] * 60)
        written += await bench.fill(tp, [1] * 5, size=9_000)
        written += await bench.fill(tp, [1] * 30)
        for first in (0, 1, 37, 58, 61, 66, 90):
            for count in (1, 2, 3, 20, 29, 40):
                expected = [b.base_offset for b in written[first : first + count]]
                room = sizes(written[first : first + count])
                found = stored_batches(await bench.store.read(tp, first, room))
                assert [base for base, _, _ in found] == expected
                if 1 < count == len(expected):
                    found = stored_batches(await bench.store.read(tp, first, room - 1))
                    assert [base for base, _, _ in found] == expected[:-1]

    async def test_reading_on_from_next_offset_gives_the_whole_log(self, bench: Bench) -> None:
        """Whatever max_bytes is, nothing is left out and nothing comes twice."""
        tp = await bench.log()
        written = await bench.fill(tp, [1, 3] * 40)
        written += await bench.fill(tp, [2, 1, 1], size=20_000)
        whole = [entry[0] for entry in stored_batches(await bench.read_all(tp))]
        for max_bytes in (1, 700, 5_000, 30_000):
            found = stored_batches(await bench.read_all(tp, max_bytes))
            assert [base for base, _, _ in found] == whole
        await bench.expect(tp, written)

    async def test_at_the_end_there_is_nothing(self, bench: Bench) -> None:
        """No runs, and no error: a consumer waits at the end."""
        tp = await bench.log()
        assert list(await bench.store.read(tp, 0, 1000)) == []
        await bench.fill(tp, [3, 2])
        assert list(await bench.store.read(tp, 5, 1000)) == []

    async def test_a_read_outside_the_log_is_out_of_range(self, bench: Bench) -> None:
        """Above the end and below the start, of an empty log too."""
        tp = await bench.log()
        for offset in (-1, 1, 1000):
            with pytest.raises(OffsetOutOfRange):
                await bench.store.read(tp, offset, 1000)
        await bench.fill(tp, [3, 2])
        for offset in (-1, 6, 1000):
            with pytest.raises(OffsetOutOfRange):
                await bench.store.read(tp, offset, 1000)

    async def test_read_many_gives_each_log_its_own_result(self, bench: Bench) -> None:
        """In order: runs, nothing at an end, and the errors that read raises."""
        tps = await bench.topic(3)
        for tp in tps[:2]:
            await bench.fill(tp, [2, 2])
        unknown = TopicPartition("orders", tps[0].topic_id, 9)
        asked = [
            Read(tps[0], 1, 1),
            Read(unknown, 0, 1000),
            Read(tps[2], 0, 1000),
            Read(tps[1], 5, 1000),
            Read(tps[1], 2, 1000),
            Read(tps[0], 0, 1 << 20),
        ]
        results = await bench.store.read_many(asked)
        assert isinstance(results[1], UnknownTopicOrPartition)
        assert isinstance(results[3], OffsetOutOfRange)
        assert not isinstance(results[2], Exception) and list(results[2]) == []
        for index in (0, 4, 5):
            found = results[index]
            assert not isinstance(found, Exception)
            again = await bench.store.read(*asked[index])
            assert stored_batches(found) == stored_batches(again) != []
        assert await bench.store.read_many([]) == []

    @only("immediate")
    async def test_read_now_is_read_without_waiting(self, bench: Bench) -> None:
        """It returns the same runs as read, and raises the same errors."""
        tp = await bench.log()
        await bench.fill(tp, [3, 2, 1])
        for offset in range(7):
            for max_bytes in (1, 1000):
                now = stored_batches(bench.store.read_now(tp, offset, max_bytes))
                assert now == stored_batches(await bench.store.read(tp, offset, max_bytes))
                assert bool(now) == (offset < 6)
        with pytest.raises(OffsetOutOfRange):
            bench.store.read_now(tp, 7, 1000)

    async def test_nothing_beyond_the_upper_bound_is_read(self, bench: Bench) -> None:
        """Only whole batches below it; nothing if it is the offset itself; without it, up to the end."""
        tp = await bench.log()
        await bench.fill(tp, [2, 3, 1, 4])
        for below, ends in (
            (10, [2, 5, 6, 10]),
            (9, [2, 5, 6]),
            (6, [2, 5, 6]),
            (5, [2, 5]),
            (1, []),
            (0, []),
        ):
            found = stored_batches(await bench.store.read(tp, 0, 1 << 20, below))
            assert [last + 1 for _, last, _ in found] == ends
        found = stored_batches(await bench.store.read(tp, 3, 1, 5))
        assert [first for first, _, _ in found] == [2]
        [runs] = await bench.store.read_many([Read(tp, 2, 1 << 20, 6)])
        assert not isinstance(runs, Exception)
        assert [last + 1 for _, last, _ in stored_batches(runs)] == [5, 6]
