"""The order of answers on a connection, and how much one that does not read may cost."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw import FETCH, METADATA, PRODUCE, RawClient, fetch, fetched, metadata, produce, produced

from kgw_core.testing.gateway import (
    GatewayProcess,
    RunningGateway,
    free_config,
    gateway_process,
    gateway_thread,
)
from kgw_core.wire.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic

LIST_OFFSETS = 6


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with gateway_process(tmp_path_factory.mktemp("order"), "--topic", "a", "--topic", "empty") as process:
        yield process


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def gateway(request: pytest.FixtureRequest, process: GatewayProcess) -> Iterator[RunningGateway]:
    if request.param == "uvloop":
        yield process
    else:
        with gateway_thread(free_config("a", "empty")) as thread:
            yield thread


@pytest.fixture
def raw(gateway: RunningGateway) -> Iterator[RawClient]:
    with RawClient(gateway.address) as client:
        yield client


def list_offsets(topic: str, timestamp: int = -1) -> ListOffsetsRequest:
    partition = ListOffsetsPartition(0, timestamp=timestamp)
    return ListOffsetsRequest(-1, 0, [ListOffsetsTopic(topic, [partition])])


def test_answers_leave_in_the_order_of_the_requests(raw: RawClient) -> None:
    requests = [
        (produce("a", b"1"), PRODUCE),
        (metadata("a"), METADATA),
        (produce("a", b"2"), PRODUCE),
        (produce("a", b"3"), PRODUCE),
        (list_offsets("a", 0), LIST_OFFSETS),  # looks into the store: a task of its own
        (metadata("made-meanwhile"), METADATA),  # creates a topic: likewise
        (fetch("a"), FETCH),
        (produce("made-meanwhile", b"4"), PRODUCE),
        (list_offsets("made-meanwhile"), LIST_OFFSETS),
    ] * 20
    raw.write(b"".join(raw.prepare(*request) for request in requests))
    answers = [raw.receive() for _ in requests]
    assert [correlation for correlation, _ in answers] == list(range(1, len(requests) + 1))
    for turn in range(20):
        after = answers[turn * 9 + 8][1].topics[0].partitions[0]
        assert (after.error_code, after.offset) == (0, turn + 1), "each request sees what came before it"


def test_a_request_behind_a_long_poll_waits_for_it(raw: RawClient) -> None:
    began = time.monotonic()
    raw.send(fetch("empty", wait_ms=300), FETCH)
    raw.send(metadata("a"), METADATA)
    assert [raw.receive()[0] for _ in range(2)] == [1, 2]
    assert time.monotonic() - began >= 0.29


def test_a_long_poll_is_answered_when_another_connection_produces(
    gateway: RunningGateway, raw: RawClient
) -> None:
    topic = "long-poll"
    raw.ask(metadata(topic), METADATA)
    raw.send(fetch(topic, wait_ms=14_000), FETCH)
    assert raw.silent(0.1)
    with RawClient(gateway.address) as other:
        assert produced(other.ask(produce(topic, b"here it is"), PRODUCE))[0] == 0
    began = time.monotonic()
    code, records = fetched(raw.receive()[1])
    assert code == 0
    assert b"here it is" in records
    assert time.monotonic() - began < 5


def test_a_long_poll_waits_for_min_bytes(gateway: RunningGateway, raw: RawClient) -> None:
    topic = "min-bytes"
    raw.ask(metadata(topic), METADATA)
    raw.send(fetch(topic, wait_ms=14_000, min_bytes=10_000), FETCH)
    with RawClient(gateway.address) as other:
        other.ask(produce(topic, b"x" * 100), PRODUCE)
        assert raw.silent(0.1)
        other.ask(produce(topic, b"y" * 12_000), PRODUCE)
    assert len(fetched(raw.receive()[1])[1]) > 12_000


def test_a_long_poll_whose_topic_is_deleted_is_answered(gateway: RunningGateway, raw: RawClient) -> None:
    from kgw_core.wire.messages.delete_topics import DeleteTopicsRequest

    topic = "soon-gone"
    raw.ask(metadata(topic), METADATA)
    raw.send(fetch(topic, wait_ms=14_000), FETCH)
    assert raw.silent(0.05)
    with RawClient(gateway.address) as other:
        assert other.ask(DeleteTopicsRequest(topic_names=[topic]), 5).responses[0].error_code == 0
    began = time.monotonic()
    raw.receive()
    assert time.monotonic() - began < 5


def test_acks_0_gets_no_answer(raw: RawClient) -> None:
    raw.write(raw.prepare(produce("a", b"quiet", acks=0), PRODUCE))
    correlation = raw.send(metadata("a"), METADATA)
    assert raw.receive()[0] == correlation


def test_an_error_at_acks_0_closes_after_what_was_asked_before(
    gateway: RunningGateway, raw: RawClient
) -> None:
    port = raw.socket.getsockname()[1]
    raw.write(raw.prepare(metadata("a"), METADATA) + raw.prepare(produce("nowhere", b"1", acks=0), PRODUCE))
    assert raw.receive()[0] == 1
    assert raw.closed()
    gateway.wait_for_log(rf"closing connection of 127.0.0.1:{port} .*Produce with acks=0 failed: .*'nowhere'")
    assert len(re.findall(rf"closing connection of 127.0.0.1:{port}\b", gateway.log)) == 1


def test_acks_that_do_not_exist_are_refused(raw: RawClient) -> None:
    assert produced(raw.ask(produce("a", b"1", acks=2), PRODUCE))[0] == 21


def test_a_client_that_has_sent_all_still_gets_its_answers(raw: RawClient) -> None:
    requests = [
        (produce("a", b"last words"), PRODUCE),
        (fetch("empty", wait_ms=200), FETCH),
        (metadata("a"), METADATA),
    ]
    raw.write(b"".join(raw.prepare(*request) for request in requests))
    raw.socket.shutdown(socket.SHUT_WR)
    assert [raw.receive()[0] for _ in requests] == [1, 2, 3]
    assert raw.closed()


# -- backpressure


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def peak_memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def flood(raw: RawClient, data: bytes) -> threading.Thread:
    """Write all of it, in a thread: the gateway will stop reading."""
    thread = threading.Thread(target=raw.write, args=(data,), daemon=True)
    thread.start()
    return thread


def test_two_thousand_requests_that_nobody_reads_cost_little_and_are_answered(
    process: GatewayProcess,
) -> None:
    value = bytes(range(256)) * 3_900
    with RawClient(process.address, receive_buffer=65_536) as raw:
        raw.ask(metadata("flood"), METADATA)
        assert produced(raw.ask(produce("flood", value), PRODUCE))[0] == 0
        before = peak_memory(process.pid)
        count = 2_000
        writing = flood(raw, b"".join(raw.prepare(fetch("flood"), FETCH) for _ in range(count)))
        with RawClient(process.address) as other:
            for _ in range(50):  # the gateway goes on serving others
                other.ask(metadata("flood"), METADATA)
        assert memory(process.pid) - before < 100 << 20, "2 GB are waiting to be read"
        seen = 0
        while seen < count:
            data = raw.receive_frame()
            seen += 1
            assert len(data) > len(value)
            if seen % 500 == 0:
                assert value in data
        writing.join(10)
        assert peak_memory(process.pid) - before < 100 << 20


def test_a_flood_of_small_requests_that_nobody_reads_is_bounded(process: GatewayProcess) -> None:
    with RawClient(process.address, receive_buffer=4_096) as raw:
        before = peak_memory(process.pid)
        count = 20_000
        writing = flood(raw, b"".join(raw.prepare(metadata("a"), METADATA) for _ in range(count)))
        with RawClient(process.address) as other:
            for _ in range(50):
                other.ask(metadata("a"), METADATA)
        for _ in range(count):
            raw.receive_frame()
        writing.join(10)
        assert peak_memory(process.pid) - before < 30 << 20


def test_requests_behind_a_long_poll_are_held_up_to_a_limit(process: GatewayProcess) -> None:
    big = produce("a", b"z" * 900_000)
    with RawClient(process.address) as raw:
        before = peak_memory(process.pid)
        count = 400
        data = raw.prepare(fetch("empty", wait_ms=500), FETCH)
        data += b"".join(raw.prepare(metadata(f"x{'y' * 200}{n}"), METADATA) for n in range(3))
        data += b"".join(raw.prepare(big, PRODUCE) for _ in range(2))
        data += b"".join(raw.prepare(metadata("a"), METADATA) for _ in range(count))
        writing = flood(raw, data)
        assert [raw.receive()[0] for _ in range(count + 6)] == list(range(1, count + 7))
        writing.join(10)
        assert peak_memory(process.pid) - before < 60 << 20
