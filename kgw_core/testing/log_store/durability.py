"""What is there after closing and reopening, and after kill -9; for durable stores."""

from __future__ import annotations

from uuid import uuid4

import anyio.to_thread
import pytest

from kgw_core.errors import UnknownTopicOrPartition
from kgw_core.spi.storage import LogStore, Topic, TopicPartition
from kgw_core.testing.batches import make_batch
from kgw_core.testing.log_store import kill
from kgw_core.testing.log_store.base import Bench, Reopen, SuiteBase, last, only


class Durability(SuiteBase):
    """Promises 6 and 10, across reopening."""

    @only("durable")
    async def test_everything_is_there_after_reopening(self, bench: Bench) -> None:
        """Topics, their configs and partitions, every batch, starts and ends; and logs go on."""
        tps = await bench.topic(2, **{"retention.ms": "5"})
        written = {tp: await bench.fill(tp, [1, 3, 2]) for tp in tps}
        before = Topic("orders", tps[0].topic_id, 2, {"retention.ms": "5"})
        await bench.store.update_topic(Topic("orders", tps[0].topic_id, 3, {"retention.ms": "6"}), before)
        await bench.store.trim(tps[0], 2)
        for _ in range(2):
            await bench.reopen()
            [topic] = await bench.store.topics()
            assert topic == Topic("orders", tps[0].topic_id, 3, {"retention.ms": "6"})
            assert await bench.ends(TopicPartition("orders", topic.id, 2)) == (0, 0)
            for tp in tps:
                written[tp] += await bench.fill(tp, [2])
            assert (await bench.ends(tps[0]))[0] == 2
            await bench.expect(tps[0], [b for b in written[tps[0]] if last(b) >= 2], start=2)
            await bench.expect(tps[1], written[tps[1]])

    @only("durable")
    async def test_the_end_does_not_go_back_after_trimming_all_and_reopening(self, bench: Bench) -> None:
        """An empty log still knows its end: offsets are never given twice."""
        tp = await bench.log()
        await bench.fill(tp, [3, 4])
        await bench.store.trim(tp, 7)
        await bench.reopen()
        assert await bench.ends(tp) == (7, 7)
        written = await bench.fill(tp, [1])
        await bench.reopen()
        assert await bench.ends(tp) == (7, 8)
        await bench.expect(tp, written)

    @only("durable")
    async def test_a_deleted_topic_stays_deleted_after_reopening(self, bench: Bench) -> None:
        """And one made again under its name stays empty."""
        [old] = await bench.topic()
        await bench.fill(old, [3])
        await bench.store.delete_topic(old.topic_id)
        await bench.reopen()
        assert list(await bench.store.topics()) == []
        [new] = await bench.topic()
        await bench.reopen()
        assert await bench.ends(new) == (0, 0)
        with pytest.raises(UnknownTopicOrPartition):
            await bench.store.append(old, [bench.make(3)])

    @only("durable")
    async def test_leader_epochs_are_known_after_reopening(self, bench: Bench) -> None:
        """Without asking for bounds, which then say the same; and none is lower than before."""
        tps = await bench.topic(3)
        before = [(await bench.store.bounds(tp)).epoch for tp in tps]
        await bench.reopen()
        known = [bench.store.leader_epoch(tp) for tp in tps]
        assert known == [(await bench.store.bounds(tp)).epoch for tp in tps]
        assert all(now >= then for now, then in zip(known, before, strict=True))

    @only("durable", "preserves_batches")
    async def test_replaced_batches_stay_replaced_after_reopening(self, bench: Bench) -> None:
        """What compaction removed does not come back."""
        tp = await bench.log()
        written = await bench.fill(tp, [2] * 6)
        new = [make_batch(4, 2, tag="new")]
        if not await bench.store.replace(tp, 2, 7, new):
            pytest.skip(f"{bench.store.name} keeps everything: replace returned False")
        await bench.reopen()
        assert await bench.ends(tp) == (0, 12)
        await bench.expect(tp, [written[0], *new, *written[4:]])

    @only("durable", "not numbers_records")
    async def test_kill_during_appends_loses_nothing_that_was_acknowledged(
        self, store: LogStore, reopen: Reopen | None
    ) -> None:
        """A process appends to three logs until kill -9: acknowledged appends are there, nothing is torn."""
        if reopen is None:
            pytest.fail(f"{store.name} says it is durable: the suite needs its fixture `reopen`")
        topic = Topic("killed", uuid4(), kill.PARTITIONS)
        await store.open()
        await store.create_topic(topic)
        await store.close()
        for delay in kill.DELAYS:
            acknowledged = await anyio.to_thread.run_sync(kill.append_until_killed, reopen, topic.id, delay)
            survivor = reopen()
            await survivor.open()
            try:
                await self._check(Bench(survivor, reopen), topic, acknowledged)
            finally:
                await survivor.close()

    async def _check(self, bench: Bench, topic: Topic, acknowledged: dict[int, int]) -> None:
        assert set(acknowledged) == set(range(kill.PARTITIONS)), "every partition was written"
        for partition, known in acknowledged.items():
            tp = TopicPartition(topic.name, topic.id, partition)
            start, end = await bench.ends(tp)
            assert start == 0 and end >= known, f"acknowledged up to {known}, there up to {end}"
            whole = end - end % kill.GROUP_SPAN
            assert end == whole, f"part of an append is there: the log ends at {end}"
            groups = [kill.group(partition, base) for base in range(0, end, kill.GROUP_SPAN)]
            await bench.expect(tp, [batch for group in groups for batch in group])
