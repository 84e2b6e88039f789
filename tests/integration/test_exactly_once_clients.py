"""Real idempotent producers on a store that fails: delivered records are there once, in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import aiokafka
import anyio.lowlevel
import confluent_kafka
import pytest
from anyio.from_thread import start_blocking_portal
from kgw_storage_memory.store import MemoryStore
from msgspec.structs import replace

from kgw_core.config import Listener
from kgw_core.errors import KafkaStorageError
from kgw_core.log.partition import PartitionLog
from kgw_core.records import iter_batches, iter_records
from kgw_core.spi.storage import Append, Capabilities, Topic
from kgw_core.testing.faults import FaultyStore
from kgw_core.testing.gateway import GatewayThread, free_config, gateway_thread

RECORDS = 180
DELAY_SECONDS = 0.05
"""Of the answers on their way to the client: it has five requests in flight when the first one fails."""

Fault = Callable[["Troubled"], object]


class Troubled(FaultyStore):
    """A store that waits, and fails now and then, as ``fault`` says."""

    name = "troubled"

    def __init__(self, fault: Fault, seed: int) -> None:
        super().__init__(MemoryStore())
        self._fault = fault
        self.random = random.Random(seed)
        self.appends = 0

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return Capabilities(commit_scope="store")

    async def append_many(self, appends: Sequence[Append]) -> list[Sequence[int] | Exception]:
        await anyio.lowlevel.checkpoint()
        self.appends += 1
        if self.appends % 4 == 1:  # the first one, too: of a producer that nobody knows
            self._fault(self)
        return await super().append_many(appends)


class SlowAnswers:
    """A proxy: requests pass at once, and answers are late."""

    def __init__(self) -> None:
        self.target: tuple[str, int] = ("", 0)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return "{}:{}".format(*self._server.sockets[0].getsockname())

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there_reader, there = await asyncio.open_connection(*self.target)
        try:
            await asyncio.gather(
                self._pass(reader, there, 0), self._pass(there_reader, writer, DELAY_SECONDS)
            )
        except ConnectionError:
            pass
        finally:
            there.close()
            writer.close()
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(1 << 16):
            if delay:
                loop.call_later(delay, writer.write, data)
            else:
                writer.write(data)
        writer.close()


def _refuses(store: Troubled) -> None:
    store.fail("append", KafkaStorageError("not now"))


def _loses_the_answer(store: Troubled) -> None:
    store.fail("append", OSError("connection lost"), late=True)
    store.fail("bounds", OSError("connection lost"), times=store.random.randrange(3))


def _loses_the_batch(store: Troubled) -> None:
    store.fail("append", OSError("connection lost"))


def _does_not_open_again(store: Troubled) -> None:
    store.fail("append", KafkaStorageError("not now"))
    store.fail("bounds", OSError("no disk"))


def _anything(store: Troubled) -> None:
    store.random.choice([_refuses, _loses_the_answer, _loses_the_batch, _does_not_open_again])(store)


FAULTS = [_refuses, _loses_the_answer, _loses_the_batch, _does_not_open_again, _anything]
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))


async def stored(log: PartitionLog) -> list[int]:
    await log.open()
    found: list[int] = []
    offset = log.start
    while offset < log.high_watermark:
        runs = await log.read(offset, 1 << 20)
        for run in runs:
            for batch in iter_batches(run.data):
                found += [int(record.value or b"-1") for record in iter_records(batch)]
        offset = runs[-1].next_offset
    return found


def check(delivered: list[int], found: list[int]) -> None:
    assert sorted(set(found)) == sorted(found), "records are there twice"
    assert found == sorted(found), "records are out of order"
    lost = sorted(set(delivered) - set(found))
    assert not lost, f"reported as delivered, and not there: {lost}"


@contextmanager
def slow_gateway(store: Troubled) -> Iterator[tuple[GatewayThread, str]]:
    """A gateway on ``store``, and the address of the proxy before it."""
    proxy = SlowAnswers()
    with start_blocking_portal() as portal:
        address = portal.call(proxy.start)
        listener = Listener(port=0, advertise=address)
        with gateway_thread(replace(free_config("t"), listeners=(listener,)), store=store) as gateway:
            proxy.target = gateway.address
            try:
                yield gateway, address
            finally:
                portal.call(proxy.stop)


def found_in(gateway: GatewayThread) -> list[int]:
    return gateway.call(stored, gateway.gateway.broker.catalog.by_name["t"].partitions[0])


def last_epochs(gateway: GatewayThread) -> list[int]:
    """The last epoch of each producer."""
    (log,) = gateway.gateway.broker.catalog.by_name["t"].partitions
    return [producer.epoch for _, producer in log.producers]


@each_fault
def test_librdkafka(fault: Fault) -> None:
    delivered: list[int] = []

    def told(error: confluent_kafka.KafkaError | None, message: confluent_kafka.Message) -> None:
        assert error is None, error
        delivered.append(int(message.value() or b"-1"))

    with slow_gateway(Troubled(fault, 1)) as (gateway, address):
        producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": address,
                "enable.idempotence": True,
                "linger.ms": 0,
                "batch.num.messages": 1,
                "retry.backoff.ms": 20,
                "retry.backoff.max.ms": 50,
                "message.timeout.ms": 60_000,
            }
        )
        for number in range(RECORDS):
            producer.produce("t", b"%d" % number, on_delivery=told)
            producer.poll(0.01 if number < 60 else 0)  # the first ones come one by one
        assert producer.flush(60) == 0
        found = found_in(gateway)
        assert last_epochs(gateway) == [0], "a new epoch may store batches of other partitions twice"
    check(delivered, found)
    assert len(delivered) == RECORDS


@pytest.mark.anyio
async def test_aiokafka() -> None:
    with slow_gateway(Troubled(_anything, 3)) as (gateway, address):
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=address,
            enable_idempotence=True,
            max_batch_size=100,
            linger_ms=0,
            retry_backoff_ms=20,
        )
        delivered: list[int] = []
        async with producer:
            sent = [await producer.send("t", b"%d" % number, partition=0) for number in range(50)]
            for number, future in enumerate(sent):
                await future
                delivered.append(number)
        found = found_in(gateway)
    check(delivered, found)
    assert len(delivered) == 50
