"""Many logs, many tasks, cancelled reads, and a loop that is never held up."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kgw_core.spi.storage import Append, Read, Topic, TopicPartition
from kgw_core.testing.batches import make_batch, stored_batches
from kgw_core.testing.log_store.base import Bench, SuiteBase, check_runs


class Concurrency(SuiteBase):
    """Promises 2, 3 and 13."""

    async def test_a_thousand_partitions_keep_their_logs_apart(self, bench: Bench) -> None:
        """Each gets batches of its own and gives back just those."""
        tps = await bench.topic(1_000)
        for first in range(0, 1_000, 250):
            appends = [
                Append(tp, [bench.make(0, tag=str(tp)), bench.make(1, tag=str(tp))])
                for tp in tps[first : first + 250]
            ]
            appended = await bench.store.append_many(appends)
            for bases in appended:
                assert not isinstance(bases, Exception)
                assert list(bases) == [0, 1]
        results = await bench.store.read_many([Read(tp, 1, 1) for tp in tps])
        for tp, result in zip(tps, results, strict=True):
            assert not isinstance(result, Exception)
            [(base, _, data)] = stored_batches(result)[-1:]
            assert base <= 1 and f"{tp}/1".encode() in data

    async def test_appends_to_many_logs_and_reads_of_them_go_on_at_the_same_time(self, bench: Bench) -> None:
        """A reader sees whole batches in order, never beyond the end, and at last all of them."""
        tps = await bench.topic(8)
        rounds = 12

        async def write(tp: TopicPartition) -> None:
            for base in range(0, rounds * 3, 3):
                batches = [bench.make(base, 1, tag=str(tp)), bench.make(base + 1, 2, tag=str(tp))]
                assert list(await bench.store.append(tp, batches)) == [base, base + 1]
                await checkpoint()

        async def read(tp: TopicPartition) -> None:
            offset = 0
            while offset < rounds * 3:
                for run in await bench.store.read(tp, offset, 400):
                    check_runs([run])
                    for _, _, data in stored_batches([run]):
                        assert f"{tp}/".encode() in data, "a read gave another log's batch"
                    assert run.base_offset <= offset < run.next_offset
                    offset = run.next_offset
                _, end = await bench.ends(tp)
                assert offset <= end, "a read gave more than the log had"
                await checkpoint()

        async with anyio.create_task_group() as tasks:
            for tp in tps:
                tasks.start_soon(write, tp)
                tasks.start_soon(read, tp)
        for tp in tps:
            await bench.expect(
                tp, [make_batch(3 * n + i, 1 + i, tag=str(tp)) for n in range(rounds) for i in (0, 1)]
            )

    async def test_a_read_cancelled_while_it_waits_leaves_the_store_usable(self, bench: Bench) -> None:
        """Wherever it is cut off: the next reads and appends of that log and of others work."""
        one, other = await bench.topic(2)
        written = await bench.fill(one, [1] * 30, size=2_000)
        beside = await bench.fill(other, [1])
        for turns in range(12):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bench.store.read, one, turns, 20_000)
                tasks.start_soon(bench.store.read_many, [Read(one, 0, 1), Read(other, 0, 1)])
                for _ in range(turns):
                    await anyio.sleep(0.0002 if turns > 8 else 0)
                tasks.cancel_scope.cancel()
            with anyio.fail_after(10):
                written += await bench.fill(one, [1])
                beside += await bench.fill(other, [1])
                check_runs(await bench.store.read(one, turns, 20_000))
        with anyio.fail_after(10):
            await bench.expect(one, written)
            await bench.expect(other, beside)

    async def test_topics_come_and_go_while_others_are_used(self, bench: Bench) -> None:
        """Appends to one topic are not disturbed by others being created and deleted."""
        [tp] = await bench.topic()
        written = []

        async def churn(number: int) -> None:
            for turn in range(4):
                [mine] = await bench.topic(name=f"t{number}")
                await checkpoint()
                assert f"t{number}" in [topic.name for topic in await bench.store.topics()]
                await bench.store.append(mine, [bench.make(0, 2, tag=f"{number}.{turn}")])
                assert await bench.ends(mine) == (0, 2)
                await bench.store.delete_topic(mine.topic_id)

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(churn, number)
            for _ in range(10):
                written += await bench.fill(tp, [1])
                await checkpoint()
        assert [topic.name for topic in await bench.store.topics()] == ["orders"]
        await bench.expect(tp, written)

    async def test_nothing_blocks_the_event_loop(self, bench: Bench) -> None:
        """Every method, with blockbuster watching for file, network, SQLite and sleep calls."""
        blockbuster = pytest.importorskip("blockbuster", reason="needs blockbuster: pip install blockbuster")
        await self._use_everything(bench, "warm-up")  # imports and thread pools
        with blockbuster.blockbuster_ctx():
            await self._use_everything(bench, "watched")

    async def _use_everything(self, bench: Bench, name: str) -> None:
        store = bench.store
        tps = await bench.topic(2, name=name)
        tp = tps[0]
        before = Topic(name, tp.topic_id, 2)
        await store.update_topic(Topic(name, tp.topic_id, 3, {"retention.ms": "1"}), before)
        await store.append(tp, [bench.make(base) for base in range(10)])
        await store.append_many([Append(tp, [bench.make(10)]), Append(tps[1], [bench.make(0)])])
        await store.read(tp, 3, 1 << 20)
        await store.read_many([Read(tp, 0, 500), Read(tps[1], 0, 500)])
        await store.find_time(tp, 1_005)
        await store.find_max_time(tp)
        await store.replace(tp, 2, 4, [make_batch(3, tag="new")])
        await store.trim(tp, 6)
        await store.bounds(tp)
        await store.topics()
        await store.ping()
        await store.delete_topic(tp.topic_id)
