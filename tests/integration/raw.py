"""A client under the full control of a test: frames over a plain socket."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Any, Self

from kgw_core import wire
from kgw_core.records import build_batch
from kgw_core.wire.base import Message
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kgw_core.wire.messages.request_header import RequestHeader
from kgw_core.wire.messages.response_header import ResponseHeader

SECONDS = 15.0

PRODUCE, FETCH, METADATA, API_VERSIONS = 9, 12, 9, 3
"""The versions that the helpers below are meant for: flexible, topics by name."""


def frame(request: Message, version: int, correlation: int, client_id: str | None = "raw") -> bytes:
    """A whole request, with its length."""
    assert request.API_KEY is not None
    header = RequestHeader(request.API_KEY, version, correlation, client_id)
    head = wire.encode(header, wire.request_header_version(request.API_KEY, version))
    return framed(head + wire.encode(request, version))


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def metadata(*topics: str) -> MetadataRequest:
    return MetadataRequest([MetadataRequestTopic(name=name) for name in topics])


def produce(topic: str, *values: bytes, acks: int = -1, partition: int = 0) -> ProduceRequest:
    batch = bytes(build_batch([(None, value) for value in values]))
    data = TopicProduceData(topic, partition_data=[PartitionProduceData(partition, batch)])
    return ProduceRequest(None, acks, 10_000, [data])


def fetch(
    topic: str, offset: int = 0, *, wait_ms: int = 0, min_bytes: int = 1, max_bytes: int = 1 << 20
) -> FetchRequest:
    part = FetchPartition(0, fetch_offset=offset, partition_max_bytes=max_bytes)
    return FetchRequest(
        max_wait_ms=wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        topics=[FetchTopic(topic, partitions=[part])],
    )


def produced(response: Any) -> tuple[int, int]:
    """Error code and base offset of the one partition."""
    answer = response.responses[0].partition_responses[0]
    return answer.error_code, answer.base_offset


def fetched(response: Any) -> tuple[int, bytes]:
    """Error code and records of the one partition."""
    answer = response.responses[0].partitions[0]
    return answer.error_code, bytes(answer.records)


class RawClient:
    """One connection. It remembers its requests, so that it can read the answers."""

    def __init__(self, address: tuple[str, int], receive_buffer: int | None = None) -> None:
        unix = address[0].startswith("unix:")
        family = socket.AF_UNIX if unix else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(SECONDS)
        try:
            self.socket.connect(address[0].removeprefix("unix:") if unix else address)
        except OSError:
            self.socket.close()
            raise
        if not unix:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._asked: dict[int, tuple[Message, int]] = {}
        self._next = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def prepare(self, request: Message, version: int) -> bytes:
        """The frame of a request, its answer expected."""
        correlation, self._next = self._next, self._next + 1
        self._asked[correlation] = (request, version)
        return frame(request, version, correlation)

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, request: Message, version: int) -> int:
        """Send a request; return its correlation id."""
        self.write(self.prepare(request, version))
        return self._next - 1

    def ask(self, request: Message, version: int) -> Any:
        """Send a request and read its answer."""
        asked = self.send(request, version)
        correlation, response = self.receive()
        assert correlation == asked
        return response

    def receive_frame(self) -> bytes:
        (size,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(size)

    def receive(self) -> tuple[int, Any]:
        """Correlation id and message of the next answer."""
        data = self.receive_frame()
        (correlation,) = struct.unpack_from(">i", data)
        request, version = self._asked.pop(correlation)
        key = request.API_KEY
        assert key is not None
        head = len(wire.encode(ResponseHeader(correlation), wire.response_header_version(key, version)))
        return correlation, wire.decode(wire.message(wire.index.APIS[key].response), version, data[head:])

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            assert more, f"the gateway closed the connection after {len(data)} of {size} bytes"
            data += more
        return bytes(data)

    def closed(self) -> bool:
        """Whether the gateway has closed the connection, and nothing is left to read; waits for it."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def silent(self, seconds: float) -> bool:
        """Whether nothing comes for this long, not even the end."""
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(SECONDS)
        return False
