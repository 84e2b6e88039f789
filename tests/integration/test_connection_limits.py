"""Limits of connections: how many, from where, how long they may be idle."""

from __future__ import annotations

import time

import msgspec
from raw import API_VERSIONS, FETCH, RawClient, fetch

from kgw_core.config import Config, Limits
from kgw_core.testing.gateway import free_config, gateway_thread
from kgw_core.wire.messages.api_versions import ApiVersionsRequest

HELLO = ApiVersionsRequest("raw", "1")


def limited(**limits: object) -> Config:
    return msgspec.structs.replace(free_config("a"), limits=Limits(**limits))  # type: ignore[arg-type]


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


def test_a_request_over_the_configured_size_closes() -> None:
    with gateway_thread(limited(max_request_size=1_000)) as gateway, RawClient(gateway.address) as raw:
        raw.write((1_001).to_bytes(4, "big"))
        assert raw.closed()
        gateway.wait_for_log(r"a frame of 1001 bytes; allowed are 1 to 1000")
