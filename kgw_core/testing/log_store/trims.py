"""Trims: the log's start afterwards, and the batches that stay."""

from __future__ import annotations

import anyio
import pytest

from kgw_core.errors import OffsetOutOfRange
from kgw_core.testing.batches import stored_batches
from kgw_core.testing.log_store.base import Bench, SuiteBase


class Trims(SuiteBase):
    """Promises 9 and 10."""

    async def test_a_trim_at_a_batch_makes_it_the_first(self, bench: Bench) -> None:
        """The start is that offset, earlier offsets are out of range, the rest is as it was."""
        tp = await bench.log()
        written = await bench.fill(tp, [2] * 10)
        await bench.store.trim(tp, 6)
        assert await bench.ends(tp) == (6, 20)
        for offset in (0, 5):
            with pytest.raises(OffsetOutOfRange):
                await bench.store.read(tp, offset, 1000)
        await bench.expect(tp, written[3:])
        assert (await bench.store.read(tp, 6, 1))[0].base_offset == 6

    async def test_a_trim_inside_a_batch_keeps_that_batch_readable(self, bench: Bench) -> None:
        """The start is exactly the offset asked for; a read there starts with the batch that contains it."""
        tp = await bench.log()
        written = await bench.fill(tp, [5, 5, 5])
        await bench.store.trim(tp, 7)
        assert await bench.ends(tp) == (7, 15)
        with pytest.raises(OffsetOutOfRange):
            await bench.store.read(tp, 6, 1000)
        runs = await bench.store.read(tp, 7, 1)
        base, last, _ = stored_batches(runs)[0]
        assert base <= 7 <= last
        await bench.expect(tp, written[1:], start=7)

    async def test_a_log_trimmed_to_its_end_is_empty_and_goes_on(self, bench: Bench) -> None:
        """Start and end are the old end; the next append is there, and it alone is read."""
        tp = await bench.log()
        await bench.fill(tp, [3, 4])
        await bench.store.trim(tp, 7)
        assert await bench.ends(tp) == (7, 7)
        assert list(await bench.store.read(tp, 7, 1000)) == []
        with pytest.raises(OffsetOutOfRange):
            await bench.store.read(tp, 6, 1000)
        written = await bench.fill(tp, [2])
        assert await bench.ends(tp) == (7, 9)
        await bench.expect(tp, written)

    async def test_a_trim_below_the_start_changes_nothing(self, bench: Bench) -> None:
        """The start never goes back."""
        tp = await bench.log()
        written = await bench.fill(tp, [2] * 5)
        await bench.store.trim(tp, 4)
        for before in (0, 3, 4):
            await bench.store.trim(tp, before)
            assert await bench.ends(tp) == (4, 10)
        await bench.expect(tp, written[2:])

    async def test_a_trim_above_the_end_is_out_of_range(self, bench: Bench) -> None:
        """And nothing is lost by it."""
        tp = await bench.log()
        written = await bench.fill(tp, [2, 2])
        with pytest.raises(OffsetOutOfRange):
            await bench.store.trim(tp, 5)
        assert await bench.ends(tp) == (0, 4)
        await bench.expect(tp, written)

    async def test_a_trim_leaves_other_logs_alone(self, bench: Bench) -> None:
        """The partition beside it keeps all it has."""
        one, other = await bench.topic(2)
        await bench.fill(one, [1] * 5)
        written = await bench.fill(other, [1] * 5)
        await bench.store.trim(one, 5)
        assert await bench.ends(other) == (0, 5)
        await bench.expect(other, written)

    async def test_trims_of_a_long_log_go_step_by_step(self, bench: Bench) -> None:
        """200 batches, trimmed further and further while it grows: always the rest, in order."""
        tp = await bench.log()
        written = await bench.fill(tp, [2] * 200)
        for before in (1, 2, 57, 58, 199, 300, 385, 399):
            await bench.store.trim(tp, before)
            written += await bench.fill(tp, [1])
            kept = [b for b in written if b.base_offset + b.span > before]
            assert await bench.ends(tp) == (before, written[-1].base_offset + 1)
            await bench.expect(tp, kept, start=before)

    async def test_what_comes_after_a_trim_to_the_end_stays(self, bench: Bench) -> None:
        """A store may delete trimmed batches later, but never batches that were appended meanwhile."""
        tp = await bench.log()
        for _ in range(5):
            await bench.fill(tp, [2] * 20, size=2_000)
            end = (await bench.ends(tp))[1]
            await bench.store.trim(tp, end)
            written = await bench.fill(tp, [1])
            for _ in range(3):
                await anyio.sleep(0.01)
                await bench.expect(tp, written)
            assert await bench.ends(tp) == (end, end + 1)
