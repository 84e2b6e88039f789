"""Fetch sessions over sockets: who uses them, that nothing is lost by them, and frames as they are."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiokafka
import confluent_kafka
import kafka
import pytest
from python_clients import SECONDS, AIOKafka, Client, Confluent, KafkaPython, Rec
from raw import RawClient, produce, produced

from kgw_core.broker import RequestContext
from kgw_core.errors import FetchSessionIdNotFound, InvalidFetchSessionEpoch, UnknownTopicOrPartition
from kgw_core.fetching.sessions import FetchSessions
from kgw_core.testing.gateway import GatewayThread, gateway_thread
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic

PARTITIONS = 6
RECORDS = 30

BY_NAME = 12


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayThread]:
    with gateway_thread() as running:
        yield running


@dataclass
class Seen:
    """The requests of one client id, and the gateway's answers."""

    full: int = 0
    incremental: int = 0
    partitions: int = 0


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> dict[str | None, Seen]:
    """All fetches that the gateways of this process work on, by client id."""
    from kgw_core.api import fetch

    seen: dict[str | None, Seen] = {}
    read = fetch._read

    def counting(request: FetchRequest, context: RequestContext) -> Any:
        entry = seen.setdefault(context.client.client_id, Seen())
        if request.session_epoch > 0:
            entry.incremental += 1
        else:
            entry.full += 1
        entry.partitions += sum(len(topic.partitions) for topic in request.topics)
        return read(request, context)

    monkeypatch.setattr(fetch, "_read", counting)
    return seen


def await_fetches(fetches: dict[str | None, Seen], client_id: str, count: int) -> None:
    """Wait until a client has sent that many."""
    deadline = time.monotonic() + SECONDS
    while client_id not in fetches or fetches[client_id].full + fetches[client_id].incremental < count:
        assert time.monotonic() < deadline, fetches
        time.sleep(0.001)


def sessions(gateway: GatewayThread) -> FetchSessions:
    return gateway.gateway.broker.fetch_sessions


# -- each client, while somebody produces


def confluent_values(bootstrap: str, topic: str, count: int, started: Callable[[], None]) -> list[bytes]:
    settings = {"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False}
    consumer = confluent_kafka.Consumer({**settings, "client.id": topic, "fetch.wait.max.ms": 50})
    try:
        places = [confluent_kafka.TopicPartition(topic, index, 0) for index in range(PARTITIONS)]
        consumer.assign(places)
        started()
        got: list[bytes] = []
        while len(got) < count:
            message = consumer.poll(SECONDS)
            assert message is not None and message.error() is None
            got.append(message.value())
        return got
    finally:
        consumer.close()


def kafka_python_values(bootstrap: str, topic: str, count: int, started: Callable[[], None]) -> list[bytes]:
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=bootstrap, client_id=topic, auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    try:
        consumer.assign([kafka.TopicPartition(topic, index) for index in range(PARTITIONS)])
        started()
        got: list[bytes] = []
        while len(got) < count:
            found = consumer.poll(SECONDS * 1000)
            assert found
            got += [record.value for records in found.values() for record in records]
        return got
    finally:
        consumer.close()


def aiokafka_values(bootstrap: str, topic: str, count: int, started: Callable[[], None]) -> list[bytes]:
    async def run() -> list[bytes]:
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap, client_id=topic, auto_offset_reset="earliest", fetch_max_wait_ms=50
        )
        async with consumer, asyncio.timeout(SECONDS):
            consumer.assign([aiokafka.TopicPartition(topic, index) for index in range(PARTITIONS)])
            started()
            return [(await consumer.getone()).value for _ in range(count)]

    return asyncio.run(run())


USERS: list[Any] = [
    pytest.param(Confluent, confluent_values, False, id="confluent"),
    pytest.param(KafkaPython, kafka_python_values, True, id="kafka-python"),
    pytest.param(AIOKafka, aiokafka_values, False, id="aiokafka"),
]
"""Client, how it consumes, whether it has fetch sessions: librdkafka and aiokafka always send epoch -1."""


@pytest.mark.parametrize(("client", "values", "has_sessions"), USERS)
@pytest.mark.parametrize("lossy", [False, True], ids=["", "sessions-lost"])
def test_clients_get_all_that_is_produced(
    gateway: GatewayThread,
    fetches: dict[str | None, Seen],
    name: str,
    client: Callable[[str], Client],
    values: Callable[..., list[bytes]],
    has_sessions: bool,
    lossy: bool,
) -> None:
    """Each partition's records come in order and once, even where sessions end under the consumer."""
    client(gateway.bootstrap).create(name, PARTITIONS)
    producer = confluent_kafka.Producer({"bootstrap.servers": gateway.bootstrap, "linger.ms": 0})
    begun = sessions(gateway).begun

    def end_all() -> None:
        for id in list(sessions(gateway)._sessions):
            sessions(gateway).close(id)

    def write() -> None:
        for number in range(RECORDS):
            for partition in range(0, PARTITIONS, 1 + number % 3):
                producer.produce(name, b"%d:%d" % (partition, number), partition=partition)
            assert producer.flush(SECONDS) == 0
            await_fetches(fetches, name, number // 2)
            if lossy and number % 5 == 4:
                gateway.call(end_all)

    expected = [
        (partition, number) for number in range(RECORDS) for partition in range(0, PARTITIONS, 1 + number % 3)
    ]
    writer = threading.Thread(target=write)
    got = values(gateway.bootstrap, name, len(expected), writer.start)
    writer.join()
    pairs = [(int(partition), int(number)) for partition, _, number in (v.partition(b":") for v in got)]
    for index in range(PARTITIONS):
        assert [pair for pair in pairs if pair[0] == index] == [pair for pair in expected if pair[0] == index]
    seen = fetches[name]
    if has_sessions:
        assert seen.incremental > 3 and sessions(gateway).begun > begun
        if not lossy:
            assert (seen.full, sessions(gateway).begun) == (1, begun + 1)
            assert seen.partitions < seen.incremental * PARTITIONS
    else:
        assert (seen.incremental, sessions(gateway).begun) == (0, begun)


def test_partitions_that_are_paused_are_forgotten_and_come_back(
    gateway: GatewayThread, fetches: dict[str | None, Seen], name: str
) -> None:
    client = KafkaPython(gateway.bootstrap)
    client.create(name, 2)
    client.produce(name, [Rec(b"a", partition=0), Rec(b"b", partition=1)])
    places = [kafka.TopicPartition(name, index) for index in range(2)]
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=gateway.bootstrap,
        client_id=name,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
    )

    def take(count: int) -> list[bytes]:
        got: list[bytes] = []
        while len(got) < count:
            found = consumer.poll(SECONDS * 1000)
            assert found
            got += [record.value for records in found.values() for record in records]
        return sorted(got)

    try:
        consumer.assign(places)
        assert take(2) == [b"a", b"b"]
        consumer.pause(places[0])
        client.produce(name, [Rec(b"c", partition=0), Rec(b"d", partition=1)])
        assert take(1) == [b"d"]
        assert consumer.poll(200) == {}
        consumer.resume(places[0])
        assert take(1) == [b"c"]
    finally:
        consumer.close()
    assert fetches[name].full == 1 and fetches[name].incremental > 3


# -- frames


def a_fetch(
    topic: str, *offsets: tuple[int, int], gone: tuple[int, ...] = (), **options: Any
) -> FetchRequest:
    parts = [FetchPartition(index, fetch_offset=at, partition_max_bytes=1 << 20) for index, at in offsets]
    return FetchRequest(
        **({"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 20} | options),
        topics=[FetchTopic(topic, partitions=parts)] if parts else [],
        forgotten_topics_data=[ForgottenTopic(topic, partitions=list(gone))] if gone else [],
    )


def news(response: Any) -> dict[int, tuple[int, int]]:
    """Error code and high watermark of each partition in the answer."""
    return {
        each.partition_index: (each.error_code, each.high_watermark)
        for topic in response.responses
        for each in topic.partitions
    }


def test_a_session_in_frames(gateway: GatewayThread, name: str) -> None:
    Confluent(gateway.bootstrap).create(name, 3)
    with RawClient(gateway.address) as client, RawClient(gateway.address) as other:
        response = client.ask(a_fetch(name, (0, 0), (1, 0), (2, 0), (3, 0), session_epoch=0), BY_NAME)
        id = response.session_id
        unknown = (UnknownTopicOrPartition.code, -1)
        assert news(response) == {0: (0, 0), 1: (0, 0), 2: (0, 0), 3: unknown} and id

        def go_on(epoch: int, *offsets: tuple[int, int], **options: Any) -> FetchRequest:
            return a_fetch(name, *offsets, session_id=id, session_epoch=epoch, **options)

        assert news(client.ask(go_on(1), BY_NAME)) == {3: unknown}
        assert news(other.ask(go_on(2, gone=(3,)), BY_NAME)) == {}
        assert produced(client.ask(produce(name, b"x", partition=1), 9)) == (0, 0)
        assert news(client.ask(go_on(3), BY_NAME)) == {1: (0, 1)}
        response = client.ask(go_on(3), BY_NAME)
        assert (response.error_code, response.session_id) == (InvalidFetchSessionEpoch.code, 0)

        asked = client.send(go_on(4, (1, 1), max_wait_ms=10_000), BY_NAME)
        assert client.silent(0.1)
        assert produced(other.ask(produce(name, b"y", partition=2), 9)) == (0, 0)
        correlation, response = client.receive()
        assert (correlation, response.session_id, news(response)) == (asked, id, {2: (0, 1)})

        response = other.ask(go_on(5, gone=(0, 1, 2)), BY_NAME)
        assert (response.error_code, response.session_id, news(response)) == (0, 0, {})
        response = client.ask(go_on(6), BY_NAME)
        assert (response.error_code, news(response)) == (FetchSessionIdNotFound.code, {})


def test_a_client_that_goes_leaves_its_session(gateway: GatewayThread, name: str) -> None:
    Confluent(gateway.bootstrap).create(name, 1)
    with RawClient(gateway.address) as client:
        id = client.ask(a_fetch(name, (0, 0), session_epoch=0), BY_NAME).session_id
        client.send(a_fetch(name, session_id=id, session_epoch=1, max_wait_ms=10_000), BY_NAME)
        assert client.silent(0.1)
    with RawClient(gateway.address) as client:
        assert produced(client.ask(produce(name, b"x"), 9)) == (0, 0)
        response = client.ask(a_fetch(name, session_id=id, session_epoch=2), BY_NAME)
        assert news(response) == {0: (0, 1)}
