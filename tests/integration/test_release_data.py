"""The database of release 0.1.0, ``data/kgw-0.1.0.db.gz``, opens with all of its data."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.lowlevel
import anyio.to_thread
import confluent_kafka
import pytest
from msgspec.structs import replace

from kgw_core.config import Listener, Storage
from kgw_core.gateway import Gateway, running
from kgw_core.groups.records import PREFIX, has_no_slot
from kgw_core.log.producers import Appended
from kgw_core.pending import Pending
from kgw_core.records import build_batch, iter_batches, iter_records
from kgw_core.testing.gateway import free_config

FIXTURE = Path(__file__).parent / "data" / "kgw-0.1.0.db.gz"
CLUSTER = "ArCdgyg4RV-a1PUEcmFgIg"
ORDERS = "062b5628-4dcd-48da-b0f1-5a3d93f682fa"
TIME = 1_700_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    database = tmp_path / "kgw.db"
    database.write_bytes(gzip.decompress(FIXTURE.read_bytes()))
    return database


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Gateway]:
    config = replace(
        free_config(),
        listeners=(Listener(port=0),),
        storage=Storage(use="sqlite", settings={"path": str(path)}),
    )
    async with running(config) as gateway:
        with anyio.fail_after(10):
            while gateway.broker.groups.coordinator.groups.loading:
                await anyio.lowlevel.checkpoint()
        yield gateway


async def values(gateway: Gateway, topic: str, partition: int) -> list[tuple[int, bytes | None]]:
    log = gateway.broker.catalog.by_name[topic].partitions[partition]
    await log.open()
    runs = await log.read(log.start, 1 << 20) if log.start < log.high_watermark else ()
    found = [
        (record.offset, record.value)
        for run in runs
        for batch in iter_batches(run.data)
        for record in iter_records(batch)
    ]
    return [(offset, value) for offset, value in found if offset >= log.start]


@pytest.mark.anyio
async def test_all_that_it_held_is_there(path: Path) -> None:
    for _ in range(2):  # the second start finds what the first has migrated
        async with opened(path) as gateway:
            broker = gateway.broker
            assert broker.cluster_id == CLUSTER
            topics = {topic.name: topic for topic in broker.catalog.by_name.values()}
            assert sorted(topics) == ["old.times", "orders", "table"]
            assert str(topics["orders"].id) == ORDERS
            assert topics["table"].topic.configs == {"cleanup.policy": "compact"}
            assert await values(gateway, "orders", 0) == [(n, b"order %d" % n) for n in range(7)]
            assert await values(gateway, "orders", 1) == [(n, b"v%d" % n) for n in range(5, 20)]
            assert await values(gateway, "old.times", 0) == [(0, b"before 1970"), (1, b"no time")]
            assert (await values(gateway, "table", 0))[-1] == (9, b"value 9")
            billing = broker.groups.find("billing")
            (member,) = billing.members.values()
            assert (billing.generation, billing.state.value, member.assignment) == (1, "Stable", b"assigned")
            committed = billing.offsets["orders"]
            assert [(committed[n].offset, committed[n].metadata) for n in range(2)] == [(5, "note"), (11, "")]
            tools = [broker.groups.find(f"tool-{n}").offsets["orders"][0].offset for n in range(60)]
            assert tools == list(range(60))
            keys = [entry.key async for entry in broker.state.scan(PREFIX)]
            assert len(keys) == 1 + 2 + 60
            assert not [key for key in keys if has_no_slot(key)]


@pytest.mark.anyio
async def test_its_producers_are_known(path: Path) -> None:
    async with opened(path) as gateway:
        log = gateway.broker.catalog.by_name["orders"].partitions[0]

        async def send(sequence: int) -> Appended:
            data = build_batch(
                [(b"k", b"again", TIME)], producer_id=4711, producer_epoch=0, base_sequence=sequence
            )
            outcome = log.append(memoryview(data), False)
            return await outcome.wait() if isinstance(outcome, Pending) else outcome

        assert (await send(6)).base_offset == 6  # a duplicate
        assert (await send(7)).base_offset == 7


@pytest.mark.anyio
async def test_a_client_goes_on_with_it(path: Path) -> None:
    async with opened(path) as gateway:
        settings = {"bootstrap.servers": gateway.bootstrap, "group.id": "tool-3"}

        def consume() -> list[int]:
            consumer = confluent_kafka.Consumer({**settings, "enable.auto.commit": False})
            try:
                consumer.subscribe(["orders"])
                found: list[int] = []
                while len(found) < 4:
                    message = consumer.poll(10)
                    assert message is not None, "nothing came"
                    assert message.error() is None, message.error()
                    if message.partition() == 0:
                        found.append(message.offset() or 0)
                consumer.commit(asynchronous=False)
                return found
            finally:
                consumer.close()

        assert await anyio.to_thread.run_sync(consume) == [3, 4, 5, 6]
        assert gateway.broker.groups.find("tool-3").offsets["orders"][0].offset == 7
