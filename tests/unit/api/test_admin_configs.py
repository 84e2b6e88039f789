"""AlterConfigs, IncrementalAlterConfigs, DescribeConfigs, ListConfigResources: changes and their effects."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from broker_kit import Kit, Peer, a_kit, batch, numbered, turns, view
from kgw_storage_memory.store import MemoryStore

from kgw_core.api.config_resources import BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC
from kgw_core.errors import (
    InvalidConfig,
    InvalidRequest,
    InvalidTimestamp,
    KafkaStorageError,
    MessageTooLarge,
)
from kgw_core.pending import Pending
from kgw_core.records import RecordBatch
from kgw_core.testing.faults import FaultyStore
from kgw_core.topics.changes import APPEND, DELETE, SET, SUBTRACT
from kgw_core.topics.dynamic_configs import DYNAMIC_CONFIGS
from kgw_core.wire.messages.alter_configs import AlterableConfig, AlterConfigsRequest, AlterConfigsResource
from kgw_core.wire.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from kgw_core.wire.messages.incremental_alter_configs import (
    AlterableConfig as Change,
)
from kgw_core.wire.messages.incremental_alter_configs import (
    AlterConfigsResource as Changes,
)
from kgw_core.wire.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from kgw_core.wire.messages.list_config_resources import ListConfigResourcesRequest

pytestmark = pytest.mark.anyio


async def change(
    kit: Kit, *changes: tuple[str, int, str | None], topic: str = "t", check: bool = False
) -> Any:
    request = IncrementalAlterConfigsRequest(
        [Changes(TOPIC, topic, [Change(*each) for each in changes])], check
    )
    return (await kit.ask(request, 1)).responses[0]


async def described(kit: Kit, kind: int, name: str, version: int = 4, **options: Any) -> dict[str, Any]:
    request = DescribeConfigsRequest([DescribeConfigsResource(kind, name, None)], **options)
    (result,) = (await kit.ask(request, version)).results
    assert result.error_code == 0
    return {entry.name: entry for entry in result.configs}


# -- changes of topics


async def test_only_the_topic_named_is_changed(kit: Kit) -> None:
    await kit.topic("t")
    await kit.topic("other")
    assert (await change(kit, ("retention.ms", SET, "5"))).error_code == 0
    assert kit.catalog.find("t").configs.retention_ms == 5
    assert kit.catalog.find("other").configs.retention_ms == 604_800_000


async def test_to_validate_only_changes_nothing(kit: Kit) -> None:
    await kit.topic("t")
    assert (await change(kit, ("retention.ms", SET, "5"), check=True)).error_code == 0
    request = AlterConfigsRequest(
        [AlterConfigsResource(TOPIC, "t", [AlterableConfig("retention.ms", "5")])], True
    )
    assert (await kit.ask(request, 2)).responses[0].error_code == 0
    assert kit.catalog.find("t").topic.configs == {}


async def test_alter_configs_takes_back_what_it_does_not_name(kit: Kit) -> None:
    await kit.topic("t", retention_ms="5", max_message_bytes="6000")
    request = AlterConfigsRequest([AlterConfigsResource(TOPIC, "t", [AlterableConfig("retention.ms", "7")])])
    await kit.ask(request, 0)
    assert kit.catalog.find("t").topic.configs == {"retention.ms": "7"}


async def test_one_change_that_is_wrong_undoes_the_others_of_its_topic(kit: Kit) -> None:
    await kit.topic("t")
    answer = await change(kit, ("retention.ms", SET, "5"), ("max.message.bytes", SET, "many"))
    assert answer.error_code == 40
    assert kit.catalog.find("t").topic.configs == {}


async def test_append_and_subtract_start_from_the_gateways_own_default() -> None:
    kit = await a_kit(defaults={"cleanup.policy": "compact"})
    await kit.topic("t")
    await change(kit, ("cleanup.policy", APPEND, "delete"))
    assert kit.catalog.find("t").topic.configs == {"cleanup.policy": "compact,delete"}
    await change(kit, ("cleanup.policy", SUBTRACT, "compact"))
    assert kit.catalog.find("t").topic.configs == {"cleanup.policy": "delete"}
    await change(kit, ("cleanup.policy", DELETE, None))
    assert kit.catalog.find("t").configs.compact
    await kit.close()


async def test_a_store_that_fails_leaves_the_configs_as_they_were() -> None:
    store = FaultyStore(MemoryStore())
    kit = await a_kit(store)
    await kit.topic("t")
    store.fail("update_topic", KafkaStorageError("disk"))
    assert (await change(kit, ("retention.ms", SET, "5"))).error_code == KafkaStorageError.code
    assert kit.catalog.find("t").configs.retention_ms == 604_800_000
    await kit.close()


# -- they count from the next append on


async def test_the_largest_batch_changes_at_once(kit: Kit) -> None:
    log = await kit.log("t")
    log.append(view(batch("v" * 500)), True)
    await change(kit, ("max.message.bytes", SET, "400"))
    with pytest.raises(MessageTooLarge):
        log.append(view(batch("v" * 500)), True)
    await change(kit, ("max.message.bytes", DELETE, None))
    log.append(view(batch("v" * 500)), True)


async def test_the_timestamp_type_and_its_bounds_change_at_once(kit: Kit) -> None:
    log = await kit.log("t")
    await change(kit, ("message.timestamp.before.max.ms", SET, "1000"))
    old = kit.clock.time_ms() - 5000
    with pytest.raises(InvalidTimestamp):
        log.append(view(batch("v", time=old)), True)
    await change(kit, ("message.timestamp.type", SET, "LogAppendTime"))
    log.append(view(batch("v", time=old)), True)
    (run,) = await log.read(0, 1000)
    assert RecordBatch(run.data).max_timestamp == kit.clock.time_ms()


@pytest.mark.parametrize(("codec", "level"), [("gzip", "9"), ("zstd", "22"), ("lz4", "12")])
async def test_the_codec_and_its_level_change_at_once(kit: Kit, codec: str, level: str) -> None:
    log = await kit.log("t")
    text = "".join(chr(33 + index * index % 89) * (index % 7) for index in range(3000))
    sizes = []
    for changes in ([("compression.type", SET, codec)], [(f"compression.{codec}.level", SET, level)]):
        await change(kit, *changes)  # type: ignore[arg-type]
        before = (await kit.store.bounds(log.tp)).size
        appended = log.append(view(batch(text, text[::-1])), True)
        if isinstance(appended, Pending):  # a batch that is repacked in a thread
            await appended.wait()
        sizes.append((await kit.store.bounds(log.tp)).size - before)
    assert sizes[1] < sizes[0] < len(text)


async def test_a_list_grows_only_as_far_as_it_can_be_told(kit: Kit) -> None:
    await kit.topic("t")
    name, grown = "leader.replication.throttled.replicas", 0
    for begin in range(0, 8000, 2000):
        pairs = ",".join(f"{number}:1" for number in range(begin, begin + 2000))
        answer = await change(kit, (name, APPEND, pairs))
        assert answer.error_code in (0, InvalidConfig.code)
        grown += answer.error_code == 0
    assert 0 < grown < 4
    assert len((await described(kit, TOPIC, "t"))[name].value) > 10_000


# -- what else there is to describe


async def test_a_value_says_where_it_comes_from() -> None:
    kit = await a_kit(defaults={"log.retention.hours": "2"})
    await kit.topic("t", max_message_bytes="6000")
    configs = await described(kit, TOPIC, "t", include_synonyms=True)
    told = {
        name: (configs[name].config_source, [(each.name, each.source) for each in configs[name].synonyms])
        for name in ("max.message.bytes", "retention.ms", "compression.type")
    }
    assert told == {
        "max.message.bytes": (1, [("max.message.bytes", 1), ("message.max.bytes", 5)]),
        "retention.ms": (4, [("log.retention.hours", 4), ("log.retention.hours", 5)]),
        "compression.type": (5, [("compression.type", 5)]),
    }
    await kit.close()


async def test_version_0_tells_only_whether_a_value_is_the_default(kit: Kit) -> None:
    await kit.topic("t", max_message_bytes="6000")
    configs = await described(kit, TOPIC, "t", version=0)
    assert not configs["max.message.bytes"].is_default
    assert configs["retention.ms"].is_default


@pytest.mark.parametrize("kind", [TOPIC, BROKER, GROUP, CLIENT_METRICS])
async def test_every_config_is_documented_and_typed(kit: Kit, kind: int) -> None:
    await kit.topic("1")
    for entry in (await described(kit, kind, "1", include_documentation=True)).values():
        assert entry.documentation and entry.documentation.endswith("."), entry.name
        assert 1 <= entry.config_type <= 9


async def test_documentation_and_synonyms_come_only_when_asked_for(kit: Kit) -> None:
    await kit.topic("t")
    for entry in (await described(kit, TOPIC, "t", version=3)).values():
        assert entry.documentation is None
        assert entry.synonyms == []


async def test_passwords_of_the_broker_are_never_told(kit: Kit) -> None:
    configs = await described(kit, BROKER, "1", include_synonyms=True)
    sensitive = [entry for entry in configs.values() if entry.is_sensitive]
    assert sensitive
    assert all(entry.value is None and not any(s.value for s in entry.synonyms) for entry in sensitive)


async def test_the_broker_tells_the_gateways_own_settings() -> None:
    kit = await a_kit(retention_check_interval=7.0)
    configs = await described(kit, BROKER, "1")
    assert configs["log.retention.check.interval.ms"].value == "7000"
    assert {entry.name for entry in configs.values() if not entry.read_only} == set(DYNAMIC_CONFIGS)
    await kit.close()


# -- changes of brokers


async def change_broker(kit: Kit, name: str, *changes: tuple[str, int, str | None]) -> None:
    request = IncrementalAlterConfigsRequest([Changes(BROKER, name, [Change(*each) for each in changes])])
    (response,) = (await kit.ask(request, 1)).responses
    assert (response.error_code, response.error_message) == (0, None)


async def test_a_default_of_topics_counts_from_the_next_append_on_for_those_that_do_not_set_it(
    kit: Kit,
) -> None:
    log = await kit.log("t")
    own = await kit.log("own", max_message_bytes="5000")
    await change_broker(kit, "", ("message.max.bytes", SET, "400"))
    with pytest.raises(MessageTooLarge):
        log.append(view(batch("v" * 500)), True)
    own.append(view(batch("v" * 500)), True)
    await change_broker(kit, "1", ("message.max.bytes", SET, "700"))
    log.append(view(batch("v" * 500)), True)
    new = await kit.log("new")
    with pytest.raises(MessageTooLarge):
        new.append(view(batch("v" * 700)), True)
    await change_broker(kit, "1", ("message.max.bytes", DELETE, None))
    await change_broker(kit, "", ("message.max.bytes", DELETE, None))
    new.append(view(batch("v" * 700)), True)


async def test_what_is_set_at_run_time_wins_over_the_settings_and_its_end_brings_them_back() -> None:
    kit = await a_kit(defaults={"log.retention.ms": "1000"}, compaction_check_interval=9.0)
    await kit.topic("t")
    await change_broker(kit, "1", ("log.retention.ms", SET, "2000"), ("log.cleaner.backoff.ms", SET, "50"))
    assert kit.catalog.find("t").configs.retention_ms == 2000
    assert kit.logs.compaction.interval == 0.05
    await change_broker(
        kit, "1", ("log.retention.ms", DELETE, None), ("log.cleaner.backoff.ms", DELETE, None)
    )
    assert kit.catalog.find("t").configs.retention_ms == 1000
    assert kit.logs.compaction.interval == 9.0
    await kit.close()


async def test_connections_are_limited_at_run_time(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    first = Peer(kit.server)
    await change_broker(kit, "", ("max.connections", SET, "1"))
    second = Peer(kit.server)
    await turns()
    assert (first.transport.closed, second.transport.closed) == (False, True)
    await change_broker(kit, "", ("max.connections", SET, "3"), ("max.connections.per.ip", SET, "2"))
    third, fourth = Peer(kit.server), Peer(kit.server)
    await turns()
    assert (first.transport.closed, third.transport.closed, fourth.transport.closed) == (False, False, True)
    await change_broker(kit, "", ("max.connections", DELETE, None), ("max.connections.per.ip", DELETE, None))
    assert kit.server.limits == kit.config.limits
    assert "more than 1 connections (max.connections)" in caplog.text
    assert "more than 2 connections from 192.0.2.7 (max.connections.per.ip)" in caplog.text


async def test_producers_are_forgotten_sooner(kit: Kit) -> None:
    log = await kit.log("t")
    log.append(view(numbered(9, 0)), True)
    await kit.clock.advance(60)
    await kit.logs._forget_producers()
    assert len(log.producers) == 1
    await change_broker(kit, "1", ("producer.id.expiration.ms", SET, "30000"))
    await kit.logs._forget_producers()
    assert len(log.producers) == 0


@pytest.mark.parametrize("new", [True, False])
async def test_a_topic_that_is_made_or_grows_meanwhile_has_the_new_defaults(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    begun, make = anyio.Event(), kit.logs.make_log

    def making(topic: Any, partition: int) -> Any:
        if partition == 300:  # others get their turn between here and the last
            begun.set()
        return make(topic, partition)

    async def change() -> None:
        await begun.wait()
        assert kit.catalog.by_name.keys() == (set() if new else {"t"})
        await kit.catalog.set_defaults({"message.max.bytes": "5000"})

    monkeypatch.setattr(kit.catalog, "log_factory", making)
    if not new:
        await kit.topic("t")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(change)
        await (kit.catalog.create("t", 600) if new else kit.catalog.add_partitions("t", 600))
    assert kit.catalog.find("t").configs.max_message_bytes == 5000


async def test_a_default_that_contradicts_a_topic_leaves_the_topic_its_own(kit: Kit) -> None:
    await kit.topic("t", min_compaction_lag_ms="100")
    await change_broker(kit, "", ("log.cleaner.max.compaction.lag.ms", SET, "50"))
    configs = kit.catalog.find("t").configs
    assert (configs.min_compaction_lag_ms, configs.max_compaction_lag_ms) == (100, 50)
    again = await a_kit(kit.store, defaults={"log.cleaner.max.compaction.lag.ms": "50"})
    assert again.catalog.find("t").topic.configs == {"min.compaction.lag.ms": "100"}
    await again.close()


async def test_a_state_that_fails_refuses_the_change_of_a_broker(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> int:
        raise KafkaStorageError("disk")

    monkeypatch.setattr(kit.state, "commit_now", fail)
    request = IncrementalAlterConfigsRequest([Changes(BROKER, "1", [Change("log.retention.ms", SET, "2")])])
    (response,) = (await kit.ask(request, 1)).responses
    assert response.error_code == KafkaStorageError.code
    assert kit.broker.configs.typed == {}


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("kind", [TOPIC, BROKER, GROUP, CLIENT_METRICS])
async def test_a_refusal_of_many_or_long_names_can_be_told(kit: Kit, kind: int, version: int) -> None:
    """More than a string of the answer can hold."""
    await kit.topic("1")
    many = [Change(f"no.such.config.{number}", SET, None if kind == TOPIC else "v") for number in range(4000)]
    for changes in (many, [Change("n" * 32_767, SET, "v" * 32_767)], [Change("n" * 32_767, 9, "v")]):
        request = IncrementalAlterConfigsRequest([Changes(kind, "1", changes)])
        (response,) = (await kit.ask(request, version)).responses
        assert response.error_code in (InvalidRequest.code, InvalidConfig.code)
        assert response.error_message


async def test_all_that_has_configs_is_listed(kit: Kit) -> None:
    await kit.topic("b")
    await kit.topic("a")
    answer = await kit.ask(ListConfigResourcesRequest(), 1)
    assert [(each.resource_type, each.resource_name) for each in answer.config_resources] == [
        (BROKER, "1"),
        (BROKER_LOGGER, "1"),
        (TOPIC, "a"),
        (TOPIC, "b"),
    ]
