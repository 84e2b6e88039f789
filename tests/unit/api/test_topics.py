"""CreateTopics and DeleteTopics through the dispatcher."""

from __future__ import annotations

from typing import Any

import pytest
from broker_kit import Kit, a_kit
from kgw_storage_memory.store import MemoryStore

from kgw_core import errors
from kgw_core.testing.faults import FaultyStore
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from kgw_core.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicState

pytestmark = pytest.mark.anyio


def new(
    name: str,
    partitions: int = 1,
    replicas: int = 1,
    assignments: dict[int, list[int]] | None = None,
    **configs: str | None,
) -> CreatableTopic:
    return CreatableTopic(
        name,
        partitions,
        replicas,
        [CreatableReplicaAssignment(index, brokers) for index, brokers in (assignments or {}).items()],
        [CreatableTopicConfig(key.replace("_", "."), value) for key, value in configs.items()],
    )


async def create(kit: Kit, *topics: CreatableTopic, version: int = 7, validate_only: bool = False) -> Any:
    request = CreateTopicsRequest(list(topics), 1000, validate_only)
    return (await kit.ask(request, version)).topics


async def refused(kit: Kit, topic: CreatableTopic, version: int = 7) -> str:
    (result,) = await create(kit, topic, version=version)
    if version >= 1:
        assert result.error_message
    return errors.error_name(result.error_code)


class TestCreate:
    @pytest.mark.parametrize("version", range(8))
    async def test_a_topic_in_every_version(self, kit: Kit, version: int) -> None:
        (result,) = await create(kit, new("t", 3, retention_ms="5000"), version=version)
        state = kit.catalog.by_name["t"]
        assert (result.name, result.error_code) == ("t", 0)
        assert result.error_message == (None if version >= 1 else "")
        assert len(state.partitions) == 3
        assert state.configs.retention_ms == 5000
        if version >= 5:
            assert (result.num_partitions, result.replication_factor) == (3, 1)
            configs = {each.name: (each.value, each.config_source) for each in result.configs}
            assert configs["retention.ms"] == ("5000", 1)
            assert configs["cleanup.policy"] == ("delete", 5)
        if version >= 7:
            assert result.topic_id == state.id_bytes

    async def test_defaults_are_the_gateways(self) -> None:
        kit = await a_kit(num_partitions=4)
        (result,) = await create(kit, new("t", -1, -1))
        assert (result.num_partitions, result.replication_factor) == (4, 1)

    async def test_a_manual_assignment_counts_its_partitions(self, kit: Kit) -> None:
        (result,) = await create(kit, new("t", -1, -1, {1: [1], 0: [1]}))
        assert (result.error_code, result.num_partitions) == (0, 2)

    async def test_validating_creates_nothing(self, kit: Kit) -> None:
        (result,) = await create(kit, new("t", 2), validate_only=True)
        assert (result.error_code, result.num_partitions, result.topic_id) == (0, 2, ZERO_UUID)
        assert not kit.catalog.by_name
        (result,) = await create(kit, new("t", 0), validate_only=True)
        assert errors.error_name(result.error_code) == "INVALID_PARTITIONS"

    @pytest.mark.parametrize(
        ("topic", "name"),
        [
            (new("t", 0), "INVALID_PARTITIONS"),
            (new("t", -2), "INVALID_PARTITIONS"),
            (new("t", 1, 0), "INVALID_REPLICATION_FACTOR"),
            (new("t", 1, 3), "INVALID_REPLICATION_FACTOR"),
            (new("a b"), "INVALID_TOPIC_EXCEPTION"),
            (new(""), "INVALID_TOPIC_EXCEPTION"),
            (new("there"), "TOPIC_ALREADY_EXISTS"),
            (new("there", 1, 3), "TOPIC_ALREADY_EXISTS"),
            (new("there", 0), "TOPIC_ALREADY_EXISTS"),
            (new("a_b"), "INVALID_TOPIC_EXCEPTION"),
            (new("t", retention_ms="soon"), "INVALID_CONFIG"),
            (new("t", retention_ms=None), "INVALID_CONFIG"),
            (new("t", no_such_thing="1"), "INVALID_CONFIG"),
            (new("t", 1, -1, {0: [1]}), "INVALID_REQUEST"),
            (new("t", -1, 1, {0: [1]}), "INVALID_REQUEST"),
            (new("t", -1, -1, {1: [1]}), "INVALID_REPLICA_ASSIGNMENT"),
            (new("t", -1, -1, {0: []}), "INVALID_REPLICA_ASSIGNMENT"),
            (new("t", -1, -1, {0: [1, 1]}), "INVALID_REPLICA_ASSIGNMENT"),
            (new("t", -1, -1, {0: [2]}), "INVALID_REPLICA_ASSIGNMENT"),
            (new("t", -1, -1, {0: [1, 2]}), "INVALID_REPLICA_ASSIGNMENT"),
        ],
    )
    async def test_what_cannot_be_made(self, kit: Kit, topic: CreatableTopic, name: str) -> None:
        await kit.topic("there")
        await kit.topic("a.b")
        assert await refused(kit, topic) == name
        assert set(kit.catalog.by_name) == {"there", "a.b"}

    @pytest.mark.parametrize("version", range(8))
    async def test_errors_in_every_version(self, kit: Kit, version: int) -> None:
        assert await refused(kit, new("a b"), version) == "INVALID_TOPIC_EXCEPTION"

    async def test_more_replicas_than_brokers_are_accepted_where_the_settings_say_so(self) -> None:
        kit = await a_kit(replication_factor="accept")
        (result,) = await create(kit, new("t", 2, 3))
        assert (result.error_code, result.replication_factor) == (0, 1)

    @pytest.mark.parametrize("setting", ["accept", "strict"])
    @pytest.mark.parametrize("brokers", [[7], [1, 7], [1, 1], [], [-1]])
    async def test_an_assignment_names_brokers_that_are_there_whatever_the_settings_say(
        self, setting: str, brokers: list[int]
    ) -> None:
        kit = await a_kit(replication_factor=setting)
        assert await refused(kit, new("t", -1, -1, {0: [1], 1: brokers})) == "INVALID_REPLICA_ASSIGNMENT"
        assert not kit.catalog.by_name

    async def test_configs_that_are_given_are_told_as_they_were_written(self, kit: Kit) -> None:
        (result,) = await create(kit, new("t", retention_ms=" 5 ", preallocate="TRUE"))
        told = {entry.name: entry.value for entry in result.configs or ()}
        assert (told["retention.ms"], told["preallocate"]) == (" 5 ", "TRUE")

    async def test_a_topic_that_is_refused_has_no_configs_rather_than_null(self, kit: Kit) -> None:
        (result,) = await create(kit, new("a b"))
        assert (result.configs, result.num_partitions) == ([], -1)

    async def test_a_name_twice_is_answered_once_and_created_not_at_all(self, kit: Kit) -> None:
        results = await create(kit, new("t"), new("u"), new("t", 5))
        assert [(each.name, errors.error_name(each.error_code)) for each in results] == [
            ("t", "INVALID_REQUEST"),
            ("u", "NONE"),
        ]
        assert set(kit.catalog.by_name) == {"u"}

    @pytest.mark.parametrize(
        ("values", "outcome"),
        [(["x", "2"], "2"), (["2", "x"], "INVALID_CONFIG"), ([None, "2"], "INVALID_CONFIG")],
    )
    async def test_of_a_config_twice_the_last_one_counts_but_a_null_is_refused(
        self, kit: Kit, values: list[str | None], outcome: str
    ) -> None:
        topic = new("t")
        topic.configs += [CreatableTopicConfig("retention.ms", value) for value in values]
        (result,) = await create(kit, topic)
        told = {entry.name: entry.value for entry in result.configs or ()}
        assert told.get("retention.ms", errors.error_name(result.error_code)) == outcome

    async def test_a_storage_failure_and_a_fault_are_each_topics_own(
        self, monkeypatch: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = FaultyStore(MemoryStore())
        kit = await a_kit(store)
        store.fail("create_topic", OSError("disk full"))
        ensure = kit.catalog._effective

        def broken(overrides: Any) -> Any:
            if "flush.ms" in overrides:
                raise ZeroDivisionError("bug")
            return ensure(overrides)

        monkeypatch.setattr(kit.catalog, "_effective", broken)
        results = await create(kit, new("a"), new("b", flush_ms="7"), new("c"))
        names = [errors.error_name(each.error_code) for each in results]
        assert names == ["KAFKA_STORAGE_ERROR", "UNKNOWN_SERVER_ERROR", "NONE"]
        assert any("ZeroDivisionError" in record.getMessage() for record in caplog.records)


async def delete(kit: Kit, *topics: str | bytes, version: int = 6) -> list[tuple[str | None, str]]:
    """Names and errors, for topics by name or by id."""
    if version >= 6:
        asked = [
            DeleteTopicState(topic) if isinstance(topic, str) else DeleteTopicState(None, topic)
            for topic in topics
        ]
        request = DeleteTopicsRequest(asked, [], 1000)
    else:
        request = DeleteTopicsRequest([], [str(topic) for topic in topics], 1000)
    results = (await kit.ask(request, version)).responses
    return [(each.name, errors.error_name(each.error_code)) for each in results]


class TestDelete:
    @pytest.mark.parametrize("version", range(7))
    async def test_by_name_in_every_version(self, kit: Kit, version: int) -> None:
        for name in "abc":
            await kit.topic(name)
        assert await delete(kit, "a", "no", "b", version=version) == [
            ("a", "NONE"),
            ("no", "UNKNOWN_TOPIC_OR_PARTITION"),
            ("b", "NONE"),
        ]
        assert set(kit.catalog.by_name) == {"c"}

    async def test_by_id(self, kit: Kit) -> None:
        state = await kit.topic("a")
        assert await delete(kit, b"\x09" * 16, state.id_bytes) == [
            (None, "UNKNOWN_TOPIC_ID"),
            ("a", "NONE"),
        ]
        assert not kit.catalog.by_name

    async def test_the_answer_names_the_topic_by_both(self, kit: Kit) -> None:
        state = await kit.topic("a")
        request = DeleteTopicsRequest([DeleteTopicState("a")], [], 1000)
        (result,) = (await kit.ask(request, 6)).responses
        assert (result.name, result.topic_id, result.error_message) == ("a", state.id_bytes, None)

    async def test_a_topic_named_by_both_or_by_neither(self, kit: Kit) -> None:
        state = await kit.topic("a")
        asked = [DeleteTopicState("a", state.id_bytes), DeleteTopicState(None, ZERO_UUID)]
        results = (await kit.ask(DeleteTopicsRequest(asked, [], 1000), 6)).responses
        assert [errors.error_name(each.error_code) for each in results] == ["INVALID_REQUEST"] * 2
        assert set(kit.catalog.by_name) == {"a"}

    @pytest.mark.parametrize("version", [5, 6])
    async def test_a_topic_twice_is_answered_once_and_stays(self, kit: Kit, version: int) -> None:
        await kit.topic("a")
        await kit.topic("b")
        assert await delete(kit, "a", "b", "a", version=version) == [
            ("a", "INVALID_REQUEST"),
            ("b", "NONE"),
        ]
        assert set(kit.catalog.by_name) == {"a"}

    @pytest.mark.parametrize("ids_first", [True, False])
    async def test_a_topic_by_its_id_and_by_its_name_stays(self, kit: Kit, ids_first: bool) -> None:
        state = await kit.topic("a")
        await kit.topic("b")
        asked: list[str | bytes] = [state.id_bytes, "b", "a"]
        answer = await delete(kit, *(asked if ids_first else asked[::-1]))
        assert sorted(answer, key=str) == [("a", "INVALID_REQUEST"), ("b", "NONE")]
        assert set(kit.catalog.by_name) == {"a"}

    async def test_and_so_it_does_where_its_id_is_there_twice(self, kit: Kit) -> None:
        state = await kit.topic("a")
        answer = await delete(kit, state.id_bytes, "a", state.id_bytes)
        assert sorted(answer, key=str) == [("a", "INVALID_REQUEST"), (None, "INVALID_REQUEST")]
        assert set(kit.catalog.by_name) == {"a"}

    async def test_an_error_names_a_topic_that_was_asked_for_by_its_id(self) -> None:
        store = FaultyStore(MemoryStore())
        kit = await a_kit(store)
        state = await kit.topic("a")
        store.fail("delete_topic", OSError("disk"))
        assert await delete(kit, state.id_bytes) == [("a", "KAFKA_STORAGE_ERROR")]

    async def test_what_is_asked_for_by_nothing_is_refused_each_time(self, kit: Kit) -> None:
        asked = [DeleteTopicState(None, ZERO_UUID)] * 2
        results = (await kit.ask(DeleteTopicsRequest(asked, [], 1000), 6)).responses
        assert [errors.error_name(each.error_code) for each in results] == ["INVALID_REQUEST"] * 2

    async def test_a_topic_whose_deletion_fails_stays(self) -> None:
        store = FaultyStore(MemoryStore())
        kit = await a_kit(store)
        await kit.topic("a")
        store.fail("delete_topic", OSError("disk"))
        assert await delete(kit, "a") == [("a", "KAFKA_STORAGE_ERROR")]
        assert await delete(kit, "a") == [("a", "NONE")]
