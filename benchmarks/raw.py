"""A client that sends prepared frames over a plain socket: for what a client library would blur."""

from __future__ import annotations

import socket
import struct
import sys
import time
from types import TracebackType
from typing import Any, Self

from kgw_core import wire
from kgw_core.records import build_batch
from kgw_core.wire.base import Message
from kgw_core.wire.messages.request_header import RequestHeader

Address = tuple[str, int]

_SIZE = struct.Struct(">i")


def part(request: Message, name: str) -> Any:
    """A struct that belongs to a message: ``part(request, "FetchTopic")``."""
    return getattr(sys.modules[type(request).__module__], name)


def frame(request: Message, version: int, correlation: int = 1) -> bytes:
    """A whole request, with its length."""
    key = request.API_KEY
    assert key is not None
    header = RequestHeader(key, version, correlation, "bench")
    body = wire.encode(header, wire.request_header_version(key, version)) + wire.encode(request, version)
    return _SIZE.pack(len(body)) + body


def api_versions_frame() -> bytes:
    return frame(wire.message("ApiVersionsRequest")("bench", "1"), 3)


def sized_batch(size: int) -> bytes:
    """A batch of one record that takes ``size`` bytes in all."""
    now = int(time.time() * 1000)
    value = size - len(build_batch([(None, b"", now)]))
    while (whole := len(build_batch([(None, b"x" * value, now)]))) > size:
        value -= whole - size
    return bytes(build_batch([(None, b"x" * value, now)]))


class Client:
    """One connection, one request after another."""

    def __init__(self, address: Address, *, timeout: float = 30.0) -> None:
        self.sock = socket.create_connection(address, timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 20)
        self._versions: dict[int, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def receive(self) -> memoryview:
        """One answer, without its length; gone with the next."""
        self._exactly(4)
        (size,) = _SIZE.unpack_from(self._buffer)
        if size > len(self._buffer):
            self._buffer = bytearray(size)
        self._exactly(size)
        return memoryview(self._buffer)[:size]

    def _exactly(self, size: int) -> None:
        view, got = memoryview(self._buffer), 0
        while got < size:
            count = self.sock.recv_into(view[got:size])
            if not count:
                raise ConnectionError("the server closed the connection")
            got += count

    @property
    def versions(self) -> dict[int, tuple[int, int]]:
        """API key -> the versions that the server has."""
        if not self._versions:
            self.sock.sendall(api_versions_frame())
            answer = bytes(self.receive())
            response: Any = wire.decode(wire.message("ApiVersionsResponse"), 3, answer[4:])
            self._versions = {api.api_key: (api.min_version, api.max_version) for api in response.api_keys}
        return self._versions

    def version(self, request: Message, most: int) -> int:
        """The newest version that both know, at most ``most``."""
        key = request.API_KEY
        assert key is not None
        first, last = self.versions[key]
        ours = wire.index.APIS[key]
        chosen = min(last, most)
        if chosen < first:
            raise ValueError(f"{ours.name}: the server has v{first} to v{last}, wanted v{most} at most")
        return chosen

    def ask(self, request: Message, most: int) -> Any:
        """The response to a request."""
        key = request.API_KEY
        assert key is not None
        version = self.version(request, most)
        self.sock.sendall(frame(request, version))
        answer = bytes(self.receive())
        at = 4 + wire.response_header_version(key, version)
        return wire.decode(wire.message(wire.index.APIS[key].response), version, answer[at:])

    # -- what the benchmarks ask for

    def metadata(self, *topics: str) -> Any:
        request: Any = wire.message("MetadataRequest")()
        request.topics = [part(request, "MetadataRequestTopic")(name=name) for name in topics]
        return self.ask(request, 8)

    def create_topic(self, name: str, partitions: int, **configs: str) -> None:
        """Create a topic and wait until every partition has a leader; configs with '_' for '.'."""
        request: Any = wire.message("CreateTopicsRequest")(timeout_ms=60_000)
        if request.API_KEY in self.versions:
            topic = part(request, "CreatableTopic")(name, partitions, 1)
            config = part(request, "CreatableTopicConfig")
            topic.configs = [config(key.replace("_", "."), value) for key, value in configs.items()]
            request.topics = [topic]
            (result,) = self.ask(request, 4).topics
            if result.error_code not in (0, 36):
                raise RuntimeError(f"topic {name} cannot be created: error {result.error_code}")
        elif partitions > 1:
            raise RuntimeError("this server has no topics of several partitions")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            (topic,) = self.metadata(name).topics
            led = [part for part in topic.partitions if part.leader_id >= 0 and part.error_code == 0]
            if topic.error_code == 0 and len(led) == partitions:
                return
            time.sleep(0.05)
        raise RuntimeError(f"topic {name} has no leaders")

    def delete_topics(self, *names: str) -> None:
        request: Any = wire.message("DeleteTopicsRequest")(topic_names=list(names), timeout_ms=30_000)
        if request.API_KEY in self.versions:
            self.ask(request, 4)

    def produce_frame(self, topic: str, partition: int, batch: bytes, acks: int = -1) -> bytes:
        request: Any = wire.message("ProduceRequest")(acks=acks, timeout_ms=30_000)
        data = part(request, "PartitionProduceData")(partition, batch)
        request.topic_data = [part(request, "TopicProduceData")(topic, partition_data=[data])]
        return frame(request, self.version(request, 11))

    def fetch_frame(self, topic: str, offset: int, max_bytes: int, wait_ms: int = 0) -> bytes:
        request: Any = wire.message("FetchRequest")(max_wait_ms=wait_ms, min_bytes=1, max_bytes=max_bytes)
        wanted = part(request, "FetchPartition")(0, fetch_offset=offset, partition_max_bytes=max_bytes)
        request.topics = [part(request, "FetchTopic")(topic, partitions=[wanted])]
        return frame(request, self.version(request, 12))

    def pump(self, frames: list[bytes], count: int, depth: int) -> None:
        """Send ``count`` requests, the frames in turn, up to ``depth`` in flight; drop the answers."""
        sent = received = 0
        while received < count:
            room = min(depth - (sent - received), count - sent)
            if room > 0:
                self.sock.sendall(b"".join(frames[(sent + i) % len(frames)] for i in range(room)))
                sent += room
            self.receive()
            received += 1
