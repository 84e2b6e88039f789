"""Limits of connections: how many, from where, how long, and how much they may leave unread."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import anyio.to_thread
import msgspec
import pytest
from kgw_storage_memory.store import MemoryStore
from raw import API_VERSIONS, FETCH, PRODUCE, RawClient, fetch, fetched, produce, produced

from kgw_core.config import Config, Limits
from kgw_core.records import Codec, Record
from kgw_core.records.legacy_build import build_message_set
from kgw_core.spi.storage import Append, Capabilities, Topic
from kgw_core.testing.faults import FaultyStore
from kgw_core.testing.gateway import free_config, gateway_thread
from kgw_core.wire.messages.api_versions import ApiVersionsRequest
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

HELLO = ApiVersionsRequest("raw", "1")


def limited(**limits: object) -> Config:
    few = Limits(max_topics=1, max_partitions=10, **limits)  # type: ignore[arg-type]
    return msgspec.structs.replace(free_config("a"), limits=few)


def test_connections_over_the_limit_are_closed_with_a_line() -> None:
    with gateway_thread(limited(max_connections=2)) as gateway:
        with RawClient(gateway.address) as first, RawClient(gateway.address) as second:
            assert first.ask(HELLO, API_VERSIONS).error_code == 0
            assert second.ask(HELLO, API_VERSIONS).error_code == 0
            with RawClient(gateway.address) as third:
                assert third.closed()
            gateway.wait_for_log(
                r"WARNING closing connection of .*: more than 2 connections \(limits.max_connections\)"
            )
            assert first.ask(HELLO, API_VERSIONS).error_code == 0, "those within it are not disturbed"
        _until_served(gateway.address)


def test_connections_of_one_address_over_its_limit_are_closed() -> None:
    with gateway_thread(limited(max_connections_per_address=1)) as gateway:
        with RawClient(gateway.address) as first:
            first.ask(HELLO, API_VERSIONS)
            with RawClient(gateway.address) as second:
                assert second.closed()
            gateway.wait_for_log(
                r"more than 1 connections from 127\.0\.0\.1 \(limits\.max_connections_per_address\)"
            )
        _until_served(gateway.address)


def _until_served(address: tuple[str, int]) -> None:
    """There is room again once the gateway has seen the others go."""
    deadline = time.monotonic() + 10
    while True:
        with RawClient(address) as raw:
            raw.write(raw.prepare(HELLO, API_VERSIONS))
            if not raw.closed():
                return
        assert time.monotonic() < deadline


def test_an_idle_connection_is_closed_with_a_line_and_a_busy_one_is_not() -> None:
    with (
        gateway_thread(limited(idle_timeout=0.4)) as gateway,
        RawClient(gateway.address) as idle,
        RawClient(gateway.address) as polling,
    ):
        began = time.monotonic()
        idle.ask(HELLO, API_VERSIONS)
        polling.send(fetch("a", wait_ms=1_500), FETCH)
        assert idle.closed()
        assert time.monotonic() - began > 0.25
        gateway.wait_for_log(r"closing connection of .*: idle for 0\.4 s \(limits\.idle_timeout\)")
        assert polling.receive()[0] == 1, "waiting for an answer is not idling"


def test_a_request_over_the_configured_size_is_refused_or_closes() -> None:
    with gateway_thread(limited(max_request_size=1_000)) as gateway, RawClient(gateway.address) as raw:
        assert produced(raw.ask(produce("a", bytes(200_000)), PRODUCE)) == (10, -1)
        gateway.wait_for_log(r"got MESSAGE_TOO_LARGE from Produce: a frame of 2\d+ bytes; allowed are 1 to 1")
        assert produced(raw.ask(produce("a", b"small"), PRODUCE)) == (0, 0)
        raw.write((1_001).to_bytes(4, "big") + b"\xff" * 8)
        assert raw.closed()
        gateway.wait_for_log(r"closing .*: a frame of 1001 bytes; allowed are 1 to 1000")


def test_a_connection_that_asks_nothing_in_time_is_closed() -> None:
    with gateway_thread(limited(handshake_timeout=0.3)) as gateway:
        with RawClient(gateway.address) as asking, RawClient(gateway.address) as silent:
            asking.ask(HELLO, API_VERSIONS)
            assert silent.closed()
            asking.ask(HELLO, API_VERSIONS)
        gateway.wait_for_log(
            r"closing connection of .*: no request within 0\.3 s \(limits\.handshake_timeout\)"
        )


def test_a_request_that_does_not_become_whole_in_time_is_closed() -> None:
    with gateway_thread(limited(frame_timeout=0.3)) as gateway, RawClient(gateway.address) as raw:
        raw.ask(HELLO, API_VERSIONS)
        raw.write((100_000).to_bytes(4, "big") + bytes(50))
        assert raw.closed()
        gateway.wait_for_log(
            r"a request was not whole within 0\.3 s \(limits\.frame_timeout\): 50 of 100000 bytes"
        )


def test_of_those_who_do_not_read_the_one_with_the_most_unread_is_closed() -> None:
    config = limited(
        max_queued_bytes=100_000,
        fetch_max_bytes=4 << 20,
        max_request_size=4 << 20,
        max_total_queued_bytes=6 << 20,
    )
    with gateway_thread(config) as gateway:
        with RawClient(gateway.address) as raw:
            for _ in range(8):
                raw.ask(produce("a", bytes(1_000_000)), PRODUCE)
        with ExitStack() as stack, RawClient(gateway.address) as reading:
            for _ in range(16):  # each leaves what the kernel does not take: some MB of each are not enough
                greedy = stack.enter_context(RawClient(gateway.address, receive_buffer=4096))
                for _ in range(20):
                    greedy.send(fetch("a", max_bytes=4 << 20), FETCH)
            gateway.wait_for_log(r"all connections' are more than 6291456 \(limits\.max_total_queued_bytes\)")
            assert len(fetched(reading.ask(fetch("a", max_bytes=1 << 20), FETCH))[1]) > 900_000


class Stuck(FaultyStore):
    """A store that is not immediate, and takes no append before the test lets it."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.go = threading.Event()

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return dataclasses.replace(super().capabilities(topic), immediate=False)

    async def append_many(self, appends: Sequence[Append]) -> list[Sequence[int] | Exception]:
        await anyio.to_thread.run_sync(self.go.wait)
        return await super().append_many(appends)


def test_what_a_stuck_store_leaves_waiting_is_bounded_though_nobody_waits_for_it() -> None:
    """Each client asks for an answer within a millisecond, gets REQUEST_TIMED_OUT, and comes again."""
    store = Stuck()
    limits = limited(max_request_size=1 << 20, max_in_flight_bytes=1 << 20, max_total_in_flight_bytes=2 << 20)
    with gateway_thread(limits, store=store) as gateway:
        codes = []
        while 56 not in codes and len(codes) < 1_000:
            with RawClient(gateway.address) as raw:
                request = produce("a", bytes(20_000))
                request.timeout_ms = 1
                codes.append(produced(raw.ask(request, PRODUCE))[0])
        taken = codes.index(56)
        assert set(codes[:taken]) == {7}
        assert (2 << 20) // 25_000 <= taken <= (3 << 20) // 20_000
        gateway.wait_for_log(
            r"got KAFKA_STORAGE_ERROR from Produce a-0: .*\(limits\.max_total_in_flight_bytes\)"
        )
        with RawClient(gateway.address) as raw:
            assert raw.ask(HELLO, API_VERSIONS).error_code == 0, "what needs no room goes on"
            store.go.set()
            deadline = time.monotonic() + 10
            while produced(raw.ask(produce("a", b"again"), PRODUCE))[0] == 56:
                assert time.monotonic() < deadline
            assert produced(raw.ask(produce("a", b"last"), PRODUCE)) == (0, taken + 1), (
                "all that was taken is there"
            )


@pytest.mark.parametrize(("most", "code"), [(1 << 20, 10), (3 << 20, 0)])
def test_a_batch_inflates_to_what_is_allowed(most: int, code: int) -> None:
    """Where it has to be looked into: here, for a message set of an old client."""
    records = [Record(b"k", bytes(2_000_000), 1, (), 0)]
    data = build_message_set(records, 1, codec=Codec.GZIP)
    request = ProduceRequest(
        None, -1, 5_000, [TopicProduceData("a", partition_data=[PartitionProduceData(0, data)])]
    )
    with gateway_thread(limited(max_inflated_batch=most)) as gateway, RawClient(gateway.address) as raw:
        assert produced(raw.ask(request, 2))[0] == code
        if code:
            gateway.wait_for_log(r"got MESSAGE_TOO_LARGE from Produce .*more than 1048576 bytes")


HERE, CONNECTION = "integration/test_connection_limits.py", "unit/server/test_connection.py"
TESTS = {
    "max_request_size": (HERE, "test_a_request_over_the_configured_size_is_refused"),
    "max_request_entries": ("unit/server/test_large.py", "test_more_entries_than_allowed_are_refused_and"),
    "max_connections": (HERE, "test_connections_over_the_limit_are_closed"),
    "max_connections_per_address": (HERE, "test_connections_of_one_address"),
    "max_in_flight_requests": (CONNECTION, "test_reading_stops_at_the_most_requests_in_flight"),
    "max_in_flight_bytes": (CONNECTION, "test_reading_stops_at_the_most_bytes_held"),
    "max_total_in_flight_bytes": (CONNECTION, "test_past_it_who_has_something_in_flight"),
    "max_queued_bytes": (CONNECTION, "test_while_the_client_does_not_read_nothing_is_started"),
    "max_total_queued_bytes": (HERE, "test_of_those_who_do_not_read_the_one_with"),
    "idle_timeout": (HERE, "test_an_idle_connection_is_closed_with_a_line"),
    "handshake_timeout": (HERE, "test_a_connection_that_asks_nothing_in_time"),
    "frame_timeout": (HERE, "test_a_request_that_does_not_become_whole_in_time"),
    "append_timeout": ("unit/api/test_produce.py", "test_the_brokers_own_time_holds_for_every_acks"),
    "drain_timeout": ("integration/test_lifecycle.py", ""),
    "fetch_max_bytes": ("unit/api/test_fetch.py", ""),
    "max_fetch_sessions": ("integration/test_fetch_sessions.py", ""),
    "max_fetch_session_partitions": ("unit/fetching/test_sessions.py", ""),
    "tail_cache": ("unit/log/test_tail.py", ""),
    "max_inflated_batch": (HERE, "test_a_batch_inflates_to_what_is_allowed"),
    "max_topics": ("unit/topics/test_catalog.py", ""),
    "max_partitions": ("unit/topics/test_catalog.py", ""),
}
"""Each limit takes effect."""


def test_every_limit_has_a_test() -> None:
    assert set(TESTS) == set(Limits.__struct_fields__)
    for limit, (path, name) in TESTS.items():
        text = (Path(__file__).parents[1] / path).read_text(encoding="utf-8")
        assert f"def {name}" in text
        assert limit.removeprefix("max_") in text or limit.upper() in text, limit


def test_the_page_has_the_sum_of_the_limits() -> None:
    page = (Path(__file__).parents[2] / "docs/explanation/limits.md").read_text(encoding="utf-8")
    assert f"**{Limits().most_memory / 2**30:.1f} GiB**" in page
    rows = re.findall(r"\| ([\d,]+) MiB \|", page)
    assert sum(int(row.replace(",", "")) for row in rows) == pytest.approx(
        Limits().most_memory / 2**20, abs=3
    )
