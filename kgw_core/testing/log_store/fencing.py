"""Fences: a former leader writes nothing."""

from __future__ import annotations

import pytest

from kgw_core.errors import UnknownTopicOrPartition
from kgw_core.spi.storage import Append, Fenced, TopicPartition
from kgw_core.testing.batches import make_batch
from kgw_core.testing.log_store.base import Bench, SuiteBase, only


class Fencing(SuiteBase):
    """Promise 17."""

    @only("fences")
    async def test_a_fence_says_where_the_log_stands(self, bench: Bench) -> None:
        """Its bounds, with the epoch of the fence, which every later look shows."""
        tp = await bench.log()
        await bench.fill(tp, [2, 1])
        first = (await bench.store.bounds(tp)).epoch
        bounds = await bench.store.fence(tp, first + 3)
        assert (bounds.start, bounds.end, bounds.epoch) == (0, 3, first + 3)
        assert (await bench.store.bounds(tp)).epoch == bench.store.leader_epoch(tp) == first + 3

    @only("fences")
    async def test_who_leads_no_more_writes_nothing(self, bench: Bench) -> None:
        """Appends, trims and replacements of a lower epoch are refused, those of the fence's own are not."""
        tp = await bench.log()
        epoch = (await bench.store.bounds(tp)).epoch
        written = await bench.fill(tp, [2, 1])
        await bench.store.fence(tp, epoch + 2)
        late = [bench.make(3, tag="late")]
        for old in (epoch, epoch + 1):
            with pytest.raises(Fenced) as fenced:
                await bench.store.append(tp, late, old)
            assert fenced.value.epoch == epoch + 2
            with pytest.raises(Fenced):
                await bench.store.trim(tp, 1, old)
            with pytest.raises(Fenced):
                await bench.store.replace(tp, 0, 1, [], old)
            with pytest.raises(Fenced):
                await bench.store.fence(tp, old)
        [outcome] = await bench.store.append_many([Append(tp, late, epoch + 1)])
        assert isinstance(outcome, Fenced)
        if bench.capabilities.immediate and not bench.capabilities.numbers_records:
            with pytest.raises(Fenced):
                bench.store.append_now(tp, late, epoch)
        await bench.expect(tp, written)
        assert list(await bench.store.append(tp, [bench.make(3)], epoch + 2)) == [3]
        await bench.store.trim(tp, 3, epoch + 2)
        await bench.expect(tp, [make_batch(3)])

    @only("fences")
    async def test_a_fence_is_of_one_log(self, bench: Bench) -> None:
        """Others go on; a fence of a log that is not there is an error."""
        one, other = await bench.topic(2)
        epoch = (await bench.store.bounds(other)).epoch
        await bench.store.fence(one, epoch + 1)
        assert list(await bench.store.append(other, [bench.make(0)], epoch)) == [0]
        with pytest.raises(UnknownTopicOrPartition):
            await bench.store.fence(TopicPartition("orders", one.topic_id, 7), epoch + 1)

    @only("fences", "durable")
    async def test_a_fence_outlasts_reopening(self, bench: Bench) -> None:
        """The epoch never goes back."""
        tp = await bench.log()
        await bench.fill(tp, [1])
        epoch = (await bench.store.bounds(tp)).epoch + 5
        await bench.store.fence(tp, epoch)
        await bench.reopen()
        assert (await bench.store.bounds(tp)).epoch >= epoch
        with pytest.raises(Fenced):
            await bench.store.append(tp, [bench.make(1)], epoch - 1)
