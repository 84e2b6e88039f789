"""Replacing batches, as compaction does; for stores that can."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest

from kgw_core.errors import UnknownTopicOrPartition
from kgw_core.spi.storage import Batch, TopicPartition
from kgw_core.testing.batches import make_batch, stored_batches
from kgw_core.testing.log_store.base import Bench, SuiteBase, last, only


class Compaction(SuiteBase):
    """`replace`: a store that keeps everything returns False, and changes nothing."""

    async def _replace(
        self, bench: Bench, tp: TopicPartition, old: Sequence[Batch], new: Sequence[Batch]
    ) -> None:
        if not await bench.store.replace(tp, old[0].base_offset, last(old[-1]), new):
            pytest.skip(f"{bench.store.name} keeps everything: replace returned False")

    @only("preserves_batches")
    async def test_replaced_batches_give_way_to_the_new_ones(self, bench: Bench) -> None:
        """Those in the range are gone, those beside it stay, and so do start and end."""
        tp = await bench.log()
        written = await bench.fill(tp, [2] * 100)
        new = [make_batch(b.base_offset, 2, size=70, tag="new") for b in written[20:80:3]]
        await self._replace(bench, tp, written[20:80], new)
        written[20:80] = new
        assert await bench.ends(tp) == (0, 200)
        await bench.expect(tp, written)
        await bench.expect(tp, written + await bench.fill(tp, [1]))

    @only("preserves_batches")
    async def test_a_read_in_a_gap_starts_with_the_next_batch(self, bench: Bench) -> None:
        """Where compaction left nothing, the log goes on with the first batch after."""
        tp = await bench.log()
        written = await bench.fill(tp, [2] * 10)
        await self._replace(bench, tp, written[2:7], [make_batch(8, 2, tag="new")])
        bases = [await self._base(bench, tp, offset) for offset in range(20)]
        assert bases == [0, 0, 2, 2, *[8] * 6, *[14] * 6, 16, 16, 18, 18]

    async def _base(self, bench: Bench, tp: TopicPartition, offset: int) -> int:
        runs = await bench.store.read(tp, offset, 1)
        [(base, _, _)] = stored_batches(runs)
        assert runs[0].base_offset == base
        return base

    @only("preserves_batches")
    async def test_batches_may_be_replaced_by_nothing(self, bench: Bench) -> None:
        """At the start of the log and in its middle; the start stays where it was."""
        tp = await bench.log()
        written = await bench.fill(tp, [3] * 8)
        await self._replace(bench, tp, written[4:6], [])
        await self._replace(bench, tp, written[0:2], [])
        assert await bench.ends(tp) == (0, 24)
        assert await self._base(bench, tp, 0) == 6
        await bench.expect(tp, written[2:4] + written[6:])

    @only("preserves_batches")
    async def test_a_replaced_log_is_trimmed_and_searched_like_any_other(self, bench: Bench) -> None:
        """The times of removed batches are gone; trims go through gaps."""
        tp = await bench.log()
        written = await bench.fill(tp, [2] * 10)
        await self._replace(bench, tp, written[2:8], [make_batch(8, 2, timestamp=5_000, tag="new")])
        assert await bench.store.find_time(tp, 1_003) == 8
        assert await bench.store.find_max_time(tp) == 8
        await bench.store.trim(tp, 11)
        assert await bench.ends(tp) == (11, 20)
        assert await bench.store.find_max_time(tp) == 18
        await bench.expect(tp, written[8:])

    async def test_a_log_that_is_not_there_is_not_replaced(self, bench: Bench) -> None:
        """UnknownTopicOrPartition, or False from a store that keeps everything."""
        tp = await bench.log()
        unknown = TopicPartition(tp.topic, tp.topic_id, 5)
        with suppress(UnknownTopicOrPartition):
            assert not await bench.store.replace(unknown, 0, 3, [])
