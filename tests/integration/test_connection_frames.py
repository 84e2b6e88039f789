"""Bytes on a connection: frames of every shape, bytes that are no frame, and the log lines."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import pytest
from raw import (
    API_VERSIONS,
    FETCH,
    METADATA,
    PRODUCE,
    RawClient,
    fetch,
    fetched,
    frame,
    framed,
    metadata,
    produce,
    produced,
)

from kgw_core import wire
from kgw_core.api import registry
from kgw_core.testing.gateway import RunningGateway, free_config, gateway_process, gateway_thread
from kgw_core.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway on each kind of event loop: their transports differ in the details that matter here."""
    if request.param == "uvloop":
        with gateway_process(tmp_path_factory.mktemp("frames"), "--topic", "frames") as process:
            yield process
    else:
        with gateway_thread(free_config("frames")) as thread:
            yield thread


@pytest.fixture
def raw(gateway: RunningGateway) -> Iterator[RawClient]:
    with RawClient(gateway.address) as client:
        yield client


def told(gateway: RunningGateway, raw: RawClient, reason: str) -> None:
    """The connection is closed, for this reason, and the log has one line of it."""
    host, port = raw.socket.getsockname()
    assert raw.closed()
    line = rf"closing connection of {re.escape(host)}:{port}\b.*: {reason}"
    gateway.wait_for_log(line)
    assert (
        len(re.findall(rf"{re.escape(host)}:{port}\b.*(?:closing|lost)|closing.*:{port}\b", gateway.log)) == 1
    )


# -- frames that are none


@pytest.mark.parametrize("length", [0, -1, -(2**31), 100 * 2**20 + 1, 2**31 - 1])
def test_a_frame_length_that_is_not_allowed_closes(
    gateway: RunningGateway, raw: RawClient, length: int
) -> None:
    raw.write(struct.pack(">i", length) + b"\xff" * 8)  # which is no API's key
    told(gateway, raw, rf"a frame of {length} bytes; allowed are 1 to 104857600 \(limits.max_request_size\)")


def test_an_http_request_closes(gateway: RunningGateway, raw: RawClient) -> None:
    raw.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    told(gateway, raw, "a frame of 1195725856 bytes")


def test_a_frame_without_a_header_closes(gateway: RunningGateway, raw: RawClient) -> None:
    raw.write(framed(b"\0\0\0"))
    told(gateway, raw, "a request of 3 bytes has no header")


def test_a_request_that_is_cut_off_closes(gateway: RunningGateway, raw: RawClient) -> None:
    whole = frame(metadata("frames"), METADATA, 1)
    raw.write(framed(whole[4:-3]))
    told(gateway, raw, "Metadata v9: ")


def test_an_api_that_does_not_exist_closes(gateway: RunningGateway, raw: RawClient) -> None:
    raw.write(framed(struct.pack(">hhih", 4_711, 0, 1, -1)))
    told(gateway, raw, "there is no API 4711")


def test_an_api_that_is_not_served_closes(gateway: RunningGateway, raw: RawClient) -> None:
    raw.write(frame(wire.message("AlterPartitionRequest")(), 2, 1))
    told(gateway, raw, r"API 56 \(AlterPartition\) is not served")


def test_a_version_that_is_not_served_closes(gateway: RunningGateway, raw: RawClient) -> None:
    raw.write(framed(struct.pack(">hhih", 3, 99, 1, -1)))
    told(gateway, raw, "Metadata v99 is not served, v0 to v13 are")


def test_what_was_asked_before_a_broken_frame_is_answered(gateway: RunningGateway, raw: RawClient) -> None:
    raw.write(raw.prepare(metadata("frames"), METADATA) + struct.pack(">i", -5))
    assert raw.receive()[1].topics[0].name == "frames"
    told(gateway, raw, "a frame of -5 bytes")


def test_a_client_that_ends_within_a_frame_is_logged(gateway: RunningGateway, raw: RawClient) -> None:
    raw.write(frame(metadata(), METADATA, 1)[:9])
    raw.socket.shutdown(1)
    told(gateway, raw, "the client ended the connection within a frame")


def test_a_client_that_ends_within_a_length_is_logged(gateway: RunningGateway, raw: RawClient) -> None:
    raw.write(b"\0\0")
    raw.socket.shutdown(1)
    told(gateway, raw, "the client ended the connection within a frame")


def test_a_client_that_ends_between_requests_is_not_worth_a_line(gateway: RunningGateway) -> None:
    with RawClient(gateway.address) as raw:
        raw.ask(ApiVersionsRequest("raw", "1"), API_VERSIONS)
        port = raw.socket.getsockname()[1]
    with RawClient(gateway.address) as later:
        later.write(b"\0\0\0\0")
        later.closed()
        gateway.wait_for_log(f"closing connection of 127.0.0.1:{later.socket.getsockname()[1]}")
    assert not re.search(rf"(closing|lost).*:{port}\b", gateway.log)


# -- ApiVersions


def test_a_newer_api_versions_is_answered_in_v0_with_the_one_entry_that_helps(raw: RawClient) -> None:
    raw.write(framed(struct.pack(">hhih", 18, 99, 7, -1) + b"whatever a v99 may hold"))
    data = raw.receive_frame()
    assert struct.unpack_from(">i", data) == (7,)
    answer = wire.decode(ApiVersionsResponse, 0, data[4:])
    assert answer.error_code == 35
    assert [(api.api_key, api.min_version, api.max_version) for api in answer.api_keys] == [(18, 0, 5)]
    assert raw.ask(ApiVersionsRequest("raw", "1"), API_VERSIONS).error_code == 0, "the connection goes on"


def test_exactly_what_has_a_handler_is_advertised(raw: RawClient) -> None:
    answer = raw.ask(ApiVersionsRequest("raw", "1"), API_VERSIONS)
    advertised = {api.api_key: (api.min_version, api.max_version) for api in answer.api_keys}
    assert advertised == {key: api.versions for key, api in registry.load().items()}


def test_the_client_s_software_is_in_the_log(gateway: RunningGateway, raw: RawClient) -> None:
    raw.ask(ApiVersionsRequest("my-own.client", "1.2.3-beta"), API_VERSIONS)
    port = raw.socket.getsockname()[1]
    gateway.wait_for_log(rf"client 127\.0\.0\.1:{port} \(raw\) connected: my-own\.client 1\.2\.3-beta$")


@pytest.mark.parametrize("software", ["", "new\nline", "-begins"])
def test_software_that_is_not_well_formed_is_an_invalid_request(raw: RawClient, software: str) -> None:
    assert raw.ask(ApiVersionsRequest(software, "1"), API_VERSIONS).error_code == 42


# -- frames in every shape


def test_frames_may_come_byte_by_byte(raw: RawClient) -> None:
    for byte in raw.prepare(metadata("frames"), METADATA) + raw.prepare(metadata(), METADATA):
        raw.write(bytes([byte]))
    assert raw.receive()[1].topics[0].name == "frames"
    assert raw.receive()[1].topics == []


def test_many_frames_may_come_in_one_segment(raw: RawClient) -> None:
    raw.write(b"".join(raw.prepare(metadata("frames"), METADATA) for _ in range(300)))
    assert [raw.receive()[0] for _ in range(300)] == list(range(1, 301))


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 20])
def test_a_frame_may_be_cut_anywhere_after_another(raw: RawClient, cut: int) -> None:
    first, second, third = (raw.prepare(metadata("frames"), METADATA) for _ in range(3))
    raw.write(first + second[:cut])
    assert raw.receive()[0] == 1
    raw.write(second[cut:] + third)
    assert [raw.receive()[0] for _ in range(2)] == [2, 3]


@pytest.mark.parametrize("size", [65_400, 65_536, 300_000, 1_040_000])
def test_a_frame_larger_than_the_shared_buffer_goes_through_whole(raw: RawClient, size: int) -> None:
    value = bytes(range(251)) * (size // 251)
    code, base = produced(raw.ask(produce("frames", value), PRODUCE))
    assert code == 0
    assert value in fetched(raw.ask(fetch("frames", base, max_bytes=2 << 20), FETCH))[1]


def test_large_and_small_frames_in_one_stream_keep_their_bounds(raw: RawClient) -> None:
    sizes = [10, 200_000, 1, 65_536, 90_000, 5] * 4
    raw.write(b"".join(raw.prepare(produce("frames", b"%d " % s + b"y" * s), PRODUCE) for s in sizes))
    bases = [produced(raw.receive()[1]) for _ in sizes]
    assert [code for code, _ in bases] == [0] * len(sizes)
    for (_, base), size in zip(bases, sizes, strict=True):
        assert b"%d " % size + b"y" * size in fetched(raw.ask(fetch("frames", base, max_bytes=1), FETCH))[1]
