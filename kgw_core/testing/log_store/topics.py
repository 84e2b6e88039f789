"""Topics: made, changed, deleted, made again."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from kgw_core.errors import TopicAlreadyExists, UnknownTopicOrPartition
from kgw_core.spi.storage import API_VERSION, LogStore, Run, Topic, TopicConflict, TopicPartition
from kgw_core.testing.log_store.base import Bench, SuiteBase, partitions_of


class Topics(SuiteBase):
    """Promises about topics (contract 4, 11) and about the class itself."""

    async def test_the_class_says_what_it_is(self, store: LogStore) -> None:
        """It has a name to select it by, the interface's version, and offers what it declares."""
        assert store.name and store.name == store.name.strip().lower()
        assert 1 <= store.api_version <= API_VERSION
        if store.capabilities().immediate:
            for method in ("append_now", "read_now"):
                assert getattr(type(store), method) is not getattr(LogStore, method), f"{method} is missing"

    async def test_an_open_store_answers_ping(self, bench: Bench) -> None:
        """Ping returns, again and again."""
        await bench.store.ping()
        await bench.store.ping()

    async def test_a_new_topic_is_listed_and_its_logs_are_empty(self, bench: Bench) -> None:
        """topics() returns the created topics; each log starts and ends at 0."""
        assert list(await bench.store.topics()) == []
        topic = Topic("orders", uuid4(), 3, {"retention.ms": "1000", "cleanup.policy": "compact"})
        other = Topic("orders.2_x-y", uuid4(), 1)
        await bench.store.create_topic(topic)
        await bench.store.create_topic(other)
        listed = {known.name: known for known in await bench.store.topics()}
        assert {name: (t.id, t.partitions, dict(t.configs)) for name, t in listed.items()} == {
            t.name: (t.id, t.partitions, dict(t.configs)) for t in (topic, other)
        }
        for tp in [*partitions_of(topic), *partitions_of(other)]:
            assert await bench.ends(tp) == (0, 0)

    async def test_a_name_that_is_taken_is_refused(self, bench: Bench) -> None:
        """The second topic of a name raises TopicAlreadyExists, the first keeps its log."""
        [tp] = await bench.topic()
        written = await bench.fill(tp, [2])
        with pytest.raises(TopicAlreadyExists):
            await bench.store.create_topic(Topic("orders", uuid4(), 2))
        assert [topic.id for topic in await bench.store.topics()] == [tp.topic_id]
        await bench.expect(tp, written)

    async def test_an_update_of_a_topic_that_others_have_changed_writes_nothing(self, bench: Bench) -> None:
        """TopicConflict has the topic as it is; the change can be made anew from that."""
        [tp] = await bench.topic(1, **{"retention.ms": "5"})
        first = Topic("orders", tp.topic_id, 1, {"retention.ms": "5"})
        second = Topic("orders", tp.topic_id, 2, {"retention.ms": "6"})
        await bench.store.update_topic(second, first)
        for before in (
            first,
            Topic("orders", tp.topic_id, 2, {}),
            Topic("orders", tp.topic_id, 1, second.configs),
        ):
            with pytest.raises(TopicConflict) as conflict:
                await bench.store.update_topic(Topic("orders", tp.topic_id, 3, {}), before)
            assert conflict.value.found == second
        assert list(await bench.store.topics()) == [second]
        with pytest.raises(UnknownTopicOrPartition):
            await bench.ends(TopicPartition("orders", tp.topic_id, 2))
        await bench.store.update_topic(Topic("orders", tp.topic_id, 3, {}), conflict.value.found)

    async def test_an_update_adds_partitions_and_replaces_configs(self, bench: Bench) -> None:
        """New partitions are empty, old ones keep their batches; configs that are left out are gone."""
        [tp] = await bench.topic(1, **{"retention.ms": "5", "segment.ms": "6"})
        written = await bench.fill(tp, [1, 2])
        before = Topic("orders", tp.topic_id, 1, {"retention.ms": "5", "segment.ms": "6"})
        await bench.store.update_topic(Topic("orders", tp.topic_id, 3, {"retention.ms": "7"}), before)
        [topic] = await bench.store.topics()
        assert (topic.id, topic.partitions, dict(topic.configs)) == (tp.topic_id, 3, {"retention.ms": "7"})
        await bench.expect(tp, written)
        for partition in (1, 2):
            added = TopicPartition("orders", tp.topic_id, partition)
            assert await bench.ends(added) == (0, 0)
            await bench.expect(added, await bench.fill(added, [1]))

    async def test_a_deleted_topic_and_its_logs_are_unknown(self, bench: Bench) -> None:
        """It is not listed, and every method about its log raises UnknownTopicOrPartition."""
        [tp] = await bench.topic()
        [kept] = await bench.topic(name="kept")
        written = await bench.fill(kept, [1, 1])
        await bench.fill(tp, [1, 1])
        await bench.store.delete_topic(tp.topic_id)
        assert [topic.name for topic in await bench.store.topics()] == ["kept"]
        await self._expect_unknown(bench, tp)
        await bench.expect(kept, written)

    async def test_a_partition_that_was_never_made_is_unknown(self, bench: Bench) -> None:
        """A number above the last partition, or the id of no topic."""
        [tp] = await bench.topic()
        await self._expect_unknown(bench, TopicPartition("orders", tp.topic_id, 1))
        await self._expect_unknown(bench, TopicPartition("orders", UUID(int=7), 0))
        assert await bench.ends(tp) == (0, 0)

    async def _expect_unknown(self, bench: Bench, tp: TopicPartition) -> None:
        with pytest.raises(UnknownTopicOrPartition):
            await bench.store.append(tp, [bench.make(0)])
        with pytest.raises(UnknownTopicOrPartition):
            await bench.store.read(tp, 0, 1000)
        with pytest.raises(UnknownTopicOrPartition):
            await bench.store.bounds(tp)
        with pytest.raises(UnknownTopicOrPartition):
            await bench.store.trim(tp, 0)
        with pytest.raises(UnknownTopicOrPartition):
            await bench.store.find_time(tp, 0)
        with pytest.raises(UnknownTopicOrPartition):
            await bench.store.find_max_time(tp)
        with pytest.raises(UnknownTopicOrPartition):
            await bench.store.write_time(tp, 0)
        if bench.capabilities.immediate:
            with pytest.raises(UnknownTopicOrPartition):
                bench.store.append_now(tp, [bench.make(0)])
            with pytest.raises(UnknownTopicOrPartition):
                bench.store.read_now(tp, 0, 1000)

    async def test_leader_epochs_of_new_logs_are_known(self, bench: Bench) -> None:
        """Without asking for bounds, which then say the same."""
        tps = await bench.topic(3)
        known = [bench.store.leader_epoch(tp) for tp in tps]
        assert known == [(await bench.store.bounds(tp)).epoch for tp in tps]

    async def test_a_topic_made_again_is_a_fresh_log_under_a_new_id(self, bench: Bench) -> None:
        """Nothing of the old log is in it, and an append with the old id does not land in it."""
        [old] = await bench.topic()
        await bench.fill(old, [3, 3])
        await bench.store.delete_topic(old.topic_id)
        [new] = await bench.topic()
        assert await bench.ends(new) == (0, 0)
        for base in (0, 6):
            with pytest.raises(UnknownTopicOrPartition):
                await bench.store.append(old, [bench.make(base)])
        assert await bench.ends(new) == (0, 0)
        await bench.expect(new, await bench.fill(new, [1, 2]))
        await self._expect_unknown(bench, old)

    async def test_what_was_read_stays_as_it_was_after_a_delete(self, bench: Bench) -> None:
        """Later calls neither clear nor overwrite the runs that a reader holds."""
        [tp] = await bench.topic()
        await bench.fill(tp, [1] * 20)
        runs = [Run(*run) for run in await bench.read_all(tp)]
        before = [bytes(run.data) for run in runs]
        await bench.store.delete_topic(tp.topic_id)
        [again] = await bench.topic()
        await bench.fill(again, [2] * 20, tag="new")
        assert [bytes(run.data) for run in runs] == before
