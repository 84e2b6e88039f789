from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import anyio
import anyio.lowlevel
import pytest

from kgw_core.errors import (
    InvalidConfig,
    InvalidPartitions,
    InvalidRequest,
    InvalidTopicException,
    KafkaError,
    KafkaStorageError,
    PolicyViolation,
    TopicAlreadyExists,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from kgw_core.spi.storage import Batch, Bounds, LogStore, Run, Topic, TopicPartition
from kgw_core.topics.catalog import NO_ID, Catalog, TopicState

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Store(LogStore):
    """Topics in a dictionary. It checks contract rule 4, and fails on demand.

    ``before`` or ``after`` of an operation ("create_topic" …) is raised once, before or after it is done.
    """

    name = "fake"

    def __init__(self, *topics: Topic) -> None:
        super().__init__()
        self.kept = {topic.id: topic for topic in topics}
        self.before: dict[str, Exception] = {}
        self.after: dict[str, Exception] = {}
        self.calls: list[str] = []
        self.gate: anyio.Event | None = None
        self._busy: set[str] = set()

    async def topics(self) -> Sequence[Topic]:
        if "topics" in self.before:
            raise self.before.pop("topics")
        return list(self.kept.values())

    async def create_topic(self, topic: Topic) -> None:
        await self._enter("create_topic", topic.name)
        if any(kept.name == topic.name for kept in self.kept.values()):
            self._busy.discard(topic.name)
            raise TopicAlreadyExists(topic.name)
        assert topic.id not in self.kept, "create_topic twice for one id"
        self.kept[topic.id] = topic
        self._leave("create_topic", topic.name)

    async def update_topic(self, topic: Topic, before: Topic) -> None:
        await self._enter("update_topic", topic.name)
        self._known(topic.id, topic.name)
        self.kept[topic.id] = topic
        self._leave("update_topic", topic.name)

    async def delete_topic(self, topic_id: UUID) -> None:
        name = self.kept[topic_id].name if topic_id in self.kept else ""
        await self._enter("delete_topic", name)
        self._known(topic_id, name)
        del self.kept[topic_id]
        self._leave("delete_topic", name)

    def _known(self, topic_id: UUID, name: str) -> None:
        if topic_id not in self.kept:
            self._busy.discard(name)
            raise UnknownTopicOrPartition(name)

    async def _enter(self, call: str, name: str) -> None:
        assert name not in self._busy, "two changes of one topic at a time"
        self._busy.add(name)
        self.calls.append(f"{call} {name}")
        await (self.gate.wait() if self.gate is not None else anyio.lowlevel.checkpoint())
        if call in self.before:
            self._busy.discard(name)
            raise self.before.pop(call)

    def _leave(self, call: str, name: str) -> None:
        self._busy.discard(name)
        if call in self.after:
            raise self.after.pop(call)

    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        raise NotImplementedError

    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        raise NotImplementedError

    async def bounds(self, tp: TopicPartition) -> Bounds:
        raise NotImplementedError

    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        raise NotImplementedError

    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        raise NotImplementedError


def label(topic: TopicState[str], index: int) -> str:
    return f"{topic.name}-{index}"


def catalog_of(store: Store, **options: Any) -> Catalog[str]:
    return Catalog(store, log_factory=label, **options)


class Events(list[str]):
    def __init__(self, catalog: Catalog[str]) -> None:
        super().__init__()
        catalog.on_created(lambda topic: self.append(f"created {topic.name}"))
        catalog.on_updated(lambda topic: self.append(f"updated {topic.name}"))
        catalog.on_deleted(lambda topic: self.append(f"deleted {topic.name} {topic.deleted}"))


# -- creating


async def test_a_created_topic_is_in_the_store_and_found_by_name_and_id() -> None:
    catalog = catalog_of(store := Store())
    events = Events(catalog)
    topic = await catalog.create("orders", 3, {"retention.ms": "5"})
    assert catalog.by_name.get("orders") is topic
    assert catalog.by_id.get(topic.id_bytes) is topic
    assert topic.id_bytes == topic.id.bytes
    assert catalog.find("orders") is catalog.find(topic.id) is catalog.find(topic.id_bytes) is topic
    assert topic.partitions == ["orders-0", "orders-1", "orders-2"]
    assert topic.topic == Topic("orders", topic.id, 3, {"retention.ms": "5"})
    assert topic.configs.retention_ms == 5
    assert (topic.is_internal, topic.deleted) == (False, False)
    assert store.kept == {topic.id: topic.topic}
    assert events == ["created orders"]


async def test_a_name_that_is_taken_is_refused() -> None:
    catalog = catalog_of(Store())
    await catalog.create("a.b", 1)
    with pytest.raises(TopicAlreadyExists, match=r"'a\.b' already exists"):
        await catalog.create("a.b", 1)


async def test_a_name_that_collides_with_another_is_refused_naming_the_other() -> None:
    catalog = catalog_of(Store())
    await catalog.create("a.b_c", 1)
    with pytest.raises(InvalidTopicException, match=r"'a_b\.c' collides with existing topic: a\.b_c"):
        await catalog.create("a_b.c", 1)
    await catalog.delete("a.b_c")
    await catalog.create("a_b.c", 1)


@pytest.mark.parametrize(
    ("name", "partitions", "configs", "error"),
    [
        ("", 1, {}, InvalidTopicException),
        ("a b", 1, {}, InvalidTopicException),
        ("a", 0, {}, InvalidPartitions),
        ("a", -1, {}, InvalidPartitions),
        ("a", 1, {"nope": "1"}, InvalidConfig),
        ("a", 1, {"retention.ms": None}, InvalidConfig),
        ("a", 1, {"retention.ms": "x"}, InvalidConfig),
        ("a", 4, {}, PolicyViolation),
    ],
)
@pytest.mark.parametrize("validate_only", [True, False])
async def test_what_kafka_refuses_is_refused_before_the_store_is_called(
    name: str,
    partitions: int,
    configs: dict[str, str | None],
    error: type[KafkaError],
    validate_only: bool,
) -> None:
    catalog = catalog_of(store := Store(), max_partitions=3)
    with pytest.raises(error):
        await catalog.create(name, partitions, configs, validate_only=validate_only)
    assert store.calls == []
    assert catalog.by_name == {}


async def test_validate_only_makes_nothing_and_tells_the_configs() -> None:
    catalog = catalog_of(store := Store())
    planned = await catalog.create("a", 2, {"segment.ms": "7"}, validate_only=True)
    assert (planned.id, planned.topic.partitions, planned.configs.segment_ms) == (NO_ID, 2, 7)
    assert catalog.by_name == {}
    assert store.calls == []


async def test_a_topic_id_can_be_given_once_and_not_a_reserved_one() -> None:
    catalog = catalog_of(Store())
    topic_id = uuid4()
    assert (await catalog.create("a", 1, topic_id=topic_id)).id == topic_id
    for taken in (topic_id, UUID(int=0), UUID(int=1)):
        with pytest.raises(InvalidRequest, match="taken or reserved"):
            await catalog.create("b", 1, topic_id=taken)


async def test_ids_never_begin_with_a_dash_in_base64() -> None:
    catalog = catalog_of(Store())
    drawn = [catalog._draw_id() for _ in range(2000)]
    assert len(set(drawn)) == 2000
    assert all(topic_id.version == 4 for topic_id in drawn)
    assert not any(base64.urlsafe_b64encode(topic_id.bytes).startswith(b"-") for topic_id in drawn)


async def test_the_gateways_defaults_hold_for_a_topic_that_does_not_set_them() -> None:
    catalog = catalog_of(Store(), broker_defaults={"retention.ms": "9"})
    assert (await catalog.create("a", 1)).configs.retention_ms == 9
    assert (await catalog.create("b", 1, {"retention.ms": "8"})).configs.retention_ms == 8
    with pytest.raises(InvalidConfig):
        catalog_of(Store(), broker_defaults={"retention.ms": "x"})


async def test_more_topics_than_max_topics_are_refused_but_for_internal_ones() -> None:
    catalog = catalog_of(Store(), max_topics=1)
    await catalog.create("__transaction_state", 1)
    await catalog.create("a", 1)
    with pytest.raises(PolicyViolation, match="max_topics is 1"):
        await catalog.create("b", 1)
    assert (await catalog.create("__consumer_offsets", 50)).is_internal
    await catalog.delete("a")
    await catalog.create("b", 1)


# -- at the same time


async def test_of_concurrent_creates_of_one_name_one_wins() -> None:
    catalog = catalog_of(store := Store())
    outcomes: list[object] = []

    async def create() -> None:
        try:
            outcomes.append(await catalog.create("a", 1))
        except KafkaError as error:
            outcomes.append(type(error))

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(create)
    assert outcomes.count(TopicAlreadyExists) == 9
    assert store.calls == ["create_topic a"]
    assert len(catalog._locks) == 0


async def test_of_concurrent_creates_of_colliding_names_one_wins() -> None:
    catalog = catalog_of(store := Store())
    outcomes: list[object] = []

    async def create(name: str) -> None:
        try:
            outcomes.append(await catalog.create(name, 1))
        except KafkaError as error:
            outcomes.append(type(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(create, "a.b")
        tasks.start_soon(create, "a_b")
    assert InvalidTopicException in outcomes
    assert store.calls == ["create_topic a.b"]


async def test_concurrent_ensures_of_one_name_all_get_the_same_topic() -> None:
    catalog = catalog_of(store := Store())
    got: list[TopicState[str]] = []

    async def ensure() -> None:
        got.append(await catalog.ensure("a", 2))

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(ensure)
    assert len(got) == 10
    assert {id(topic) for topic in got} == {id(catalog.by_name["a"])}
    assert store.calls == ["create_topic a"]


async def test_concurrent_creates_keep_to_the_limits_together() -> None:
    catalog = catalog_of(store := Store(), max_partitions=5)
    store.gate = anyio.Event()
    refused: list[str] = []

    async def create(name: str) -> None:
        try:
            await catalog.create(name, 2)
        except PolicyViolation:
            refused.append(name)

    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(create, name)
        await anyio.wait_all_tasks_blocked()
        store.gate.set()
    assert refused == ["c"]
    assert set(catalog.by_name) == {"a", "b"}


async def test_a_create_whose_caller_goes_away_is_finished() -> None:
    catalog = catalog_of(store := Store())
    store.gate = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(catalog.create, "a", 1)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        store.gate.set()
    assert set(catalog.by_name) == {"a"}
    assert len(store.kept) == 1


async def test_a_delete_by_name_and_a_create_of_it_do_not_overlap_in_the_store() -> None:
    catalog = catalog_of(Store())
    first = await catalog.create("a", 1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(catalog.delete, "a")
        tasks.start_soon(catalog.create, "a", 2)
        tasks.start_soon(catalog.add_partitions, "a", 3)
    assert first.deleted
    assert catalog.by_name["a"] is not first
    assert catalog.by_name["a"].partitions == ["a-0", "a-1", "a-2"]
    assert first.id_bytes not in catalog.by_id


# -- changing and deleting


async def test_set_configs_replaces_the_overrides_of_the_same_topic() -> None:
    catalog = catalog_of(store := Store())
    topic = await catalog.create("a", 1, {"retention.ms": "5", "segment.ms": "6"})
    events = Events(catalog)
    before = topic.configs
    assert await catalog.set_configs("a", {"retention.ms": "7"}) is topic
    assert topic.configs is not before
    assert (topic.configs.retention_ms, topic.configs.segment_ms) == (7, 604800000)
    assert store.kept[topic.id].configs == {"retention.ms": "7"}
    assert events == ["updated a"]


async def test_alter_sees_what_the_one_before_has_set() -> None:
    catalog = catalog_of(Store())
    topic = await catalog.create("a", 1)

    async def add(name: str) -> None:
        await catalog.alter("a", lambda overrides: {**overrides, name: "1"})

    async with anyio.create_task_group() as tasks:
        for name in ("retention.ms", "segment.ms", "flush.ms"):
            tasks.start_soon(add, name)
    assert topic.topic.configs == {"retention.ms": "1", "segment.ms": "1", "flush.ms": "1"}


async def test_a_wrong_change_or_one_that_is_only_checked_or_none_at_all_leaves_the_topic_alone() -> None:
    catalog = catalog_of(store := Store())
    topic = await catalog.create("a", 1, {"retention.ms": "5"})
    events = Events(catalog)
    with pytest.raises(InvalidConfig):
        await catalog.set_configs("a", {"retention.ms": "x"})
    with pytest.raises(UnknownTopicOrPartition):
        await catalog.set_configs("b", {})
    await catalog.set_configs("a", {"retention.ms": "6"}, validate_only=True)
    await catalog.set_configs("a", {"retention.ms": "5"})
    await catalog.add_partitions("a", 2, validate_only=True)
    assert topic.configs.retention_ms == 5
    assert store.calls == ["create_topic a"]
    assert events == []


async def test_add_partitions_extends_the_same_list() -> None:
    catalog = catalog_of(store := Store(), max_partitions=3)
    topic = await catalog.create("a", 1)
    events = Events(catalog)
    partitions = topic.partitions
    await catalog.add_partitions("a", 3)
    assert topic.partitions is partitions
    assert partitions == ["a-0", "a-1", "a-2"]
    assert store.kept[topic.id].partitions == topic.topic.partitions == 3
    assert events == ["updated a"]
    for total in (3, 2, 0, -1):
        with pytest.raises(InvalidPartitions, match="would not be an increase"):
            await catalog.add_partitions("a", total)
    with pytest.raises(PolicyViolation, match="max_partitions = 3"):
        await catalog.add_partitions("a", 4)
    with pytest.raises(UnknownTopicOrPartition):
        await catalog.add_partitions("b", 4)


@pytest.mark.parametrize("by", ["name", "id", "id_bytes"])
async def test_a_deleted_topic_is_gone_and_marked(by: str) -> None:
    catalog = catalog_of(store := Store())
    topic = await catalog.create("a", 1)
    events = Events(catalog)
    assert await catalog.delete(getattr(topic, by)) is topic
    assert topic.deleted
    assert (catalog.by_name, catalog.by_id, store.kept) == ({}, {}, {})
    assert events == ["deleted a True"]
    with pytest.raises(UnknownTopicOrPartition if by == "name" else UnknownTopicId):
        await catalog.delete(getattr(topic, by))


async def test_a_listener_that_fails_is_logged_and_does_not_undo_the_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    catalog = catalog_of(Store())
    catalog.on_created(lambda topic: 1 / 0)
    events = Events(catalog)
    await catalog.create("a", 1)
    assert events == ["created a"]
    assert "a listener failed when topic a was created" in caplog.text


# -- loading


async def test_load_takes_over_the_stores_topics_without_telling_listeners() -> None:
    kept = [Topic("a", uuid4(), 2, {"retention.ms": "5"}), Topic("__consumer_offsets", uuid4(), 1)]
    catalog = catalog_of(Store(*kept), max_topics=1)
    events = Events(catalog)
    await catalog.load()
    assert [topic.topic for topic in catalog.by_name.values()] == kept
    assert catalog.by_name["a"].partitions == ["a-0", "a-1"]
    assert catalog.by_name["a"].configs.retention_ms == 5
    assert events == []
    with pytest.raises(PolicyViolation):
        await catalog.create("b", 1)


async def test_load_logs_a_config_that_is_not_valid_and_keeps_the_topic_with_the_default(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configs = {"retention.ms": "soon", "segment.ms": "7", "nope": "1"}
    catalog = catalog_of(Store(Topic("a", uuid4(), 1, configs)))
    with caplog.at_level(logging.ERROR):
        await catalog.load()
    topic = catalog.by_name["a"]
    assert (topic.configs.retention_ms, topic.configs.segment_ms) == (604800000, 7)
    assert topic.topic.configs == {"segment.ms": "7"}
    assert 'topic a: config left out: Invalid value "soon" for retention.ms' in caplog.text
    assert "Unknown topic config name: nope" in caplog.text


async def test_load_logs_and_skips_a_topic_that_cannot_be_named_or_is_empty(
    caplog: pytest.LogCaptureFixture,
) -> None:
    catalog = catalog_of(Store(Topic("a b", uuid4(), 1), Topic("c", uuid4(), 0), Topic("d", uuid4(), 1)))
    await catalog.load()
    assert set(catalog.by_name) == {"d"}
    assert caplog.text.count("is skipped") == 2


async def test_topics_of_the_store_that_collide_are_both_kept() -> None:
    catalog = catalog_of(Store(Topic("a.b", uuid4(), 1), Topic("a_b", uuid4(), 1)))
    await catalog.load()
    assert set(catalog.by_name) == {"a.b", "a_b"}
    await catalog.delete("a.b")
    with pytest.raises(InvalidTopicException, match="collides with existing topic: a_b"):
        await catalog.create("a.b", 1)


async def test_many_partitions_do_not_hold_the_event_loop() -> None:
    catalog = catalog_of(Store())
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        topic = await catalog.create("a", 10_000)
        tasks.cancel_scope.cancel()
    assert len(topic.partitions) == 10_000
    assert turns > 30


# -- a store that fails


async def test_a_create_that_the_store_refuses_leaves_nothing_behind() -> None:
    catalog = catalog_of(store := Store(), max_topics=1, max_partitions=1)
    for error in (KafkaStorageError("disk full"), OSError("disk gone")):
        store.before["create_topic"] = error
        with pytest.raises(KafkaStorageError):
            await catalog.create("a", 1)
    assert catalog.by_name == {}
    await catalog.create("a", 1)


async def test_a_create_that_was_done_though_it_failed_counts_as_done() -> None:
    catalog = catalog_of(store := Store())
    store.after["create_topic"] = OSError("connection lost")
    topic = await catalog.create("a", 1)
    assert catalog.by_name["a"] is topic


async def test_a_store_that_cannot_say_what_it_did_is_a_storage_error() -> None:
    catalog = catalog_of(store := Store())
    store.before = {"create_topic": OSError("connection lost"), "topics": OSError("still lost")}
    with pytest.raises(KafkaStorageError, match="failed to change topic 'a': OSError"):
        await catalog.create("a", 1)


async def test_a_topic_that_somebody_else_made_in_the_store_is_taken_over() -> None:
    catalog = catalog_of(store := Store())
    await catalog.load()
    other, more = Topic("a", uuid4(), 3), Topic("b", uuid4(), 1)
    store.kept = {other.id: other, more.id: more}
    with pytest.raises(TopicAlreadyExists):
        await catalog.create("a", 1)
    assert catalog.by_name["a"].id == other.id
    assert (await catalog.ensure("b", 5)).topic == more


async def test_a_topic_that_somebody_else_deleted_from_the_store_leaves_the_catalog() -> None:
    catalog = catalog_of(store := Store())
    first, second = await catalog.create("a", 1), await catalog.create("b", 1)
    events = Events(catalog)
    store.kept.clear()
    with pytest.raises(UnknownTopicOrPartition):
        await catalog.delete("a")
    with pytest.raises(UnknownTopicOrPartition):
        await catalog.add_partitions("b", 2)
    assert first.deleted and second.deleted
    assert events == ["deleted a True", "deleted b True"]


async def test_a_delete_that_fails_keeps_the_topic_unless_it_was_done() -> None:
    catalog = catalog_of(store := Store())
    topic = await catalog.create("a", 1)
    for error in (KafkaStorageError("not now"), OSError("connection lost")):
        store.before["delete_topic"] = error
        with pytest.raises(KafkaStorageError):
            await catalog.delete("a")
        assert catalog.by_name["a"] is topic
        assert not topic.deleted
    store.after["delete_topic"] = OSError("connection lost")
    await catalog.delete("a")
    assert topic.deleted


async def test_an_update_that_fails_changes_nothing_unless_it_was_done() -> None:
    catalog = catalog_of(store := Store(), max_partitions=2)
    topic = await catalog.create("a", 1)
    for error in (KafkaStorageError("not now"), OSError("connection lost")):
        store.before["update_topic"] = error
        with pytest.raises(KafkaStorageError):
            await catalog.add_partitions("a", 2)
        assert topic.partitions == ["a-0"]
    store.after["update_topic"] = OSError("connection lost")
    await catalog.add_partitions("a", 2)
    assert topic.partitions == ["a-0", "a-1"]


async def test_a_name_may_be_taken_again_when_all_is_done_that_a_deletion_brings_about() -> None:
    catalog = catalog_of(Store())
    done: list[str] = []

    async def clean_up(state: TopicState[str]) -> None:
        await anyio.lowlevel.checkpoint()
        done.append("cleaned up")

    async def fail(state: TopicState[str]) -> None:
        raise ValueError("no")

    catalog.on_deleted(fail)
    catalog.on_deleted(clean_up)
    await catalog.create("t", 1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(catalog.delete, "t")
        while "t" in catalog.by_name:
            await anyio.lowlevel.checkpoint()
        assert not done
        await catalog.create("t", 1)
        assert done == ["cleaned up"]
