"""The kit of `pip install kgw` for other people's tests: a fixture, and a gateway on the test's loop."""

from __future__ import annotations

from uuid import uuid4

import aiokafka
import anyio
import anyio.lowlevel
import anyio.to_thread
import confluent_kafka
import pytest
from kgw_storage_memory.store import MemoryStore
from msgspec.structs import replace

from kgw_core.config import read_file
from kgw_core.errors import KafkaStorageError
from kgw_core.gateway import Gateway, StartError, StopError, running
from kgw_core.groups.records import Committed
from kgw_core.groups.service import GroupService
from kgw_core.log.compaction import Compaction
from kgw_core.log.manager import LogManager
from kgw_core.log.retention import Retention
from kgw_core.log.writer import Writers
from kgw_core.producer_ids import KEY
from kgw_core.server.server import Server
from kgw_core.spi.state import NO_VERSIONS, Changes, Entry, StateCapabilities, Versions
from kgw_core.spi.storage import Capabilities, Topic
from kgw_core.state.memory import MemoryStateStore
from kgw_core.testing.faults import FaultyStore
from kgw_core.testing.gateway import GatewayThread, free_config


class Waiting(MemoryStore):
    """Not immediate, and commits all logs together, so that appends go through the writers."""

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return Capabilities(commit_scope="store")


def test_the_fixture_is_a_broker(kgw_gateway: GatewayThread) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": kgw_gateway.bootstrap})
    producer.produce("orders", b"1")
    assert producer.flush(10) == 0
    assert list(producer.list_topics(timeout=10).topics) == ["orders"]
    kgw_gateway.wait_for_log("topic orders created: 1 partition")


def test_the_fixture_is_a_new_broker_for_each_test(kgw_gateway: GatewayThread) -> None:
    admin = confluent_kafka.Producer({"bootstrap.servers": kgw_gateway.bootstrap})
    assert admin.list_topics(timeout=10).topics == {}


@pytest.mark.anyio
async def test_a_gateway_and_its_client_share_one_event_loop() -> None:
    async with running(free_config("orders:2")) as gateway:
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=gateway.bootstrap)
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=gateway.bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=100
        )
        async with producer, consumer:
            for number in range(10):
                await producer.send_and_wait("orders", b"%d" % number, partition=number % 2)
            consumer.assign([aiokafka.TopicPartition("orders", partition) for partition in range(2)])
            got = [await consumer.getone() for _ in range(10)]
    assert sorted(record.value for record in got) == [b"%d" % number for number in range(10)]


@pytest.mark.anyio
@pytest.mark.parametrize("client", ["aiokafka", "confluent"])
async def test_idempotent_producers_wait_for_a_state_that_gives_no_ids(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    commit = MemoryStateStore.commit

    async def failing(state: MemoryStateStore, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        nonlocal asked
        asked += KEY in changes
        if KEY in changes and asked <= 2:
            raise KafkaStorageError("not now")
        return await commit(state, changes, if_versions)

    monkeypatch.setattr(MemoryStateStore, "commit", failing)
    async with running(free_config("orders:1")) as gateway:
        if client == "aiokafka":
            async with aiokafka.AIOKafkaProducer(
                bootstrap_servers=gateway.bootstrap, enable_idempotence=True
            ) as producer:
                assert (await producer.send_and_wait("orders", b"1")).offset == 0
        else:
            confluent = confluent_kafka.Producer(
                {"bootstrap.servers": gateway.bootstrap, "enable.idempotence": True}
            )
            confluent.produce("orders", b"1")
            assert await anyio.to_thread.run_sync(confluent.flush, 20) == 0
    assert asked == 3


@pytest.mark.anyio
async def test_a_state_that_never_answers_does_not_keep_a_gateway_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing at the end is waited for longer than ``limits.drain_timeout``, or a second signal."""
    stopped = False

    async def stuck(_: GroupService) -> None:
        nonlocal stopped
        stopped = True
        await anyio.sleep_forever()

    monkeypatch.setattr(GroupService, "stop", stuck)
    with anyio.fail_after(20):
        async with running(free_config("orders:1")) as gateway:
            gateway.drain_timeout.expire()
    assert stopped


async def produced(gateway: Gateway, value: bytes) -> None:
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=gateway.bootstrap)
    async with producer:
        await producer.send_and_wait("orders", value, partition=0)


async def fails(gateway: Gateway, *works: str, tries: int = 1) -> None:
    """Wait until these works have failed so many times."""
    there = anyio.Event()

    def look() -> None:
        failing = gateway.health.failing
        if all(work in failing and failing[work].tries >= tries for work in works):
            there.set()

    gateway.health.changed.append(look)
    look()
    await there.wait()


FAULTY = {
    "closing late connections": (Server, "check_timeouts"),
    "expiring offsets": (GroupService, "expire"),
    "retention": (Retention, "check"),
    "compaction": (Compaction, "check"),
}


@pytest.mark.anyio
async def test_faults_of_background_work_end_nothing_and_are_seen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They are told once each, and the gateway serves and stops as if there were none."""

    async def fail(_: object) -> None:
        raise ZeroDivisionError("a fault")

    for owner, name in FAULTY.values():
        monkeypatch.setattr(owner, name, fail)
    config = free_config("orders:1")
    config = replace(
        config,
        topics=replace(config.topics, retention_check_interval=0.05, compaction_check_interval=0.05),
        groups=replace(config.groups, offsets_check_interval=0.05),
        limits=replace(config.limits, idle_timeout=0.2),
    )
    with anyio.fail_after(20):
        async with running(config) as gateway:
            await fails(gateway, *FAULTY, tries=3)
            await produced(gateway, b"1")
    assert caplog.text.count("failed, and is tried again: ZeroDivisionError") == len(FAULTY)


@pytest.mark.anyio
async def test_a_fault_at_one_step_of_the_end_keeps_none_after_it_from_being_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: object) -> None:
        raise ZeroDivisionError("a fault")

    ended = False

    async def drained(_: object) -> None:
        nonlocal ended
        ended = True

    monkeypatch.setattr(GroupService, "stop", fail)
    monkeypatch.setattr(LogManager, "drained", drained)
    async with running(free_config("orders:1")) as gateway:
        await produced(gateway, b"1")
    assert ended
    assert "while the gateway stopped, writing what groups have asked for failed" in caplog.text


class BrokenState(MemoryStateStore):
    """From some time on neither writes nor says whether it has written."""

    broken = False

    def capabilities(self) -> StateCapabilities:
        return StateCapabilities()

    async def get(self, key: bytes) -> Entry | None:
        if self.broken:
            raise OSError("no luck")
        return await super().get(key)

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        if self.broken:
            raise OSError("no luck")
        return await super().commit(changes, if_versions)


class OnBrokenState(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.state = BrokenState()

    def state_store(self) -> BrokenState:
        return self.state


@pytest.mark.anyio
async def test_a_state_that_fails_for_good_keeps_a_gateway_neither_from_serving_nor_from_ending(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The step of the end that waits for it is cut short, and those after it are taken."""
    store = OnBrokenState()
    config = free_config("orders:1")
    config = replace(config, limits=replace(config.limits, drain_timeout=0.3))
    with anyio.fail_after(20):
        async with running(config, store=store) as gateway:
            await produced(gateway, b"1")
            groups = gateway.broker.groups
            while groups.coordinator.groups.loading:
                await anyio.lowlevel.checkpoint()
            store.state.broken = True
            place = [
                ("orders", 0, Committed(1, -1, "", 0, -1, gateway.broker.catalog.id_of("orders") or b""))
            ]
            commit = groups.commit("g", -1, "", None, place)
            await gateway.broker.catalog.delete("orders")
            await produced(gateway, b"2")
            assert not commit.done
    assert "writing what groups have asked for was not done within 0.3 s" in caplog.text


class Unclosable(MemoryStore):
    async def close(self) -> None:
        raise OSError("no luck")


@pytest.mark.anyio
async def test_a_store_that_cannot_be_closed_is_told_in_the_end() -> None:
    with pytest.raises(StopError, match=r"storage memory could not be closed: OSError\('no luck'\)"):
        async with running(free_config("orders:1"), store=Unclosable()) as gateway:
            await produced(gateway, b"1")


@pytest.mark.anyio
async def test_what_a_gateway_ends_with_goes_before_what_cannot_be_closed() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with running(free_config(), store=Unclosable()):
            raise ZeroDivisionError
    assert caught.group_contains(ZeroDivisionError)


@pytest.mark.anyio
async def test_a_writer_that_meets_a_fault_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is written then, also where the gateway stops meanwhile."""
    write = Writers._write
    faults = 0

    async def failing(writers: Writers) -> None:
        nonlocal faults
        faults += 1
        if faults == 1:
            raise ZeroDivisionError("a fault")
        await write(writers)

    monkeypatch.setattr(Writers, "_write", failing)
    with anyio.fail_after(20):
        async with running(free_config("orders:1"), store=FaultyStore(Waiting())) as gateway:
            producer = aiokafka.AIOKafkaProducer(bootstrap_servers=gateway.bootstrap)
            await producer.start()
            sent = await producer.send("orders", b"1", partition=0)
            await fails(gateway, "writer 1 of the store")
    assert (await sent).offset == 0
    await producer.stop()


@pytest.mark.anyio
async def test_a_topic_that_cannot_be_created_is_reported_with_its_variables() -> None:
    store = MemoryStore()
    await store.create_topic(Topic("a.b", uuid4(), 1, {}))
    settings = read_file(None, {"KGW_LISTENERS__0__PORT": "0", "KGW_TOPICS__CREATE__0__NAME": "a_b"})
    with pytest.RaisesGroup(
        pytest.RaisesExc(StartError, match=r"^environment: KGW_TOPICS__CREATE__0__NAME: ")
    ):
        async with running(settings.config, report=settings.report, store=store):
            raise AssertionError("it started")
