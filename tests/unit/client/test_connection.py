"""A connection against a broker that a test makes up, byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from kgw_core import wire
from kgw_core.client import Unreachable, cluster
from kgw_core.client.connection import MOST_BYTES, Connection
from kgw_core.errors import ClusterAuthorizationFailed, UnsupportedVersion
from kgw_core.wire.messages.api_versions import ApiVersion, ApiVersionsResponse
from kgw_core.wire.messages.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse
from kgw_core.wire.messages.request_header import RequestHeader
from kgw_core.wire.messages.response_header import ResponseHeader

LIST_GROUPS, API_VERSIONS = 16, 18

pytestmark = pytest.mark.anyio


class Broker:
    """The other end. ``answer(key, version)`` gives a message, bytes to send as they are, or None: it hangs
    up; ``hang`` is silence."""

    hang = object()

    def __init__(self, answer: Callable[[int, int], Any] | None = None, **served: tuple[int, int]) -> None:
        self.asked: list[tuple[int, int, str | None]] = []
        self.closed = False
        self._answer = answer
        self._served = served or {"ListGroups": (0, 5), "ApiVersions": (0, 4)}
        self._out = bytearray()
        self._silent = False

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        key, version = struct.unpack_from(">hh", data, 4)
        header_version = wire.request_header_version(key, version)
        header, at = wire.decoder(RequestHeader, header_version)(memoryview(data)[4:], 0)
        wire.decode(wire.message(wire.index.APIS[key].request), version, memoryview(data)[4 + at :])
        self.asked.append((key, version, header.client_id))
        answer = self._answer(key, version) if self._answer is not None else ...
        if answer is ...:
            answer = self._usual(key)
        if answer is self.hang:
            self._silent = True
        elif answer is None:
            self.closed = True
        elif isinstance(answer, bytes):
            self._out += answer
        else:
            head = ResponseHeader(header.correlation_id)
            body = wire.encode(head, wire.response_header_version(key, version)) + wire.encode(
                answer, version
            )
            self._out += struct.pack(">i", len(body)) + body

    def _usual(self, key: int) -> Any:
        if key == API_VERSIONS:
            keys = {api.name: api.key for api in wire.index.APIS.values()}
            return ApiVersionsResponse(
                0, [ApiVersion(keys[name], *many) for name, many in self._served.items()]
            )
        return ListGroupsResponse(groups=[ListedGroup("g")])

    async def receive(self, most: int = 65536) -> bytes:
        await anyio.lowlevel.checkpoint()
        if not self._out and self._silent:
            await anyio.sleep_forever()
        if not self._out:
            raise anyio.EndOfStream
        most = min(most, 3)  # in small pieces
        data, self._out = bytes(self._out[:most]), self._out[most:]
        return data

    async def aclose(self) -> None:
        self.closed = True


async def connected(broker: Broker, seconds: float = 30.0, **newest: int) -> Connection:
    connection = Connection(broker, "broker:1", "me", seconds, newest)  # type: ignore[arg-type]
    await connection._introduce()
    return connection


def instead(key: int, answer: Any) -> Callable[[int, int], Any]:
    """Answer requests of one API with this."""
    return lambda asked, version: answer if asked == key else ...


async def test_a_request_goes_in_the_newest_version_that_both_know() -> None:
    broker = Broker(ListGroups=(1, 3))
    connection = await connected(broker)
    answer = await connection.request(ListGroupsRequest())
    assert [group.group_id for group in answer.groups] == ["g"]
    assert broker.asked == [(API_VERSIONS, 3, "me"), (LIST_GROUPS, 3, "me")]
    assert connection.used


async def test_versions_can_be_limited() -> None:
    broker = Broker()
    connection = await connected(broker, ListGroups=2)
    await connection.request(ListGroupsRequest())
    await connection.request(ListGroupsRequest(), newest=1)
    assert [version for _, version, _ in broker.asked[1:]] == [2, 1]


async def test_a_broker_that_does_not_know_the_version_of_api_versions_is_asked_in_the_first() -> None:
    def answer(key: int, version: int) -> Any:
        if key == API_VERSIONS and version:
            return struct.pack(">iihi", 10, 1, UnsupportedVersion.code, 0)
        return ...

    broker = Broker(answer, ListGroups=(0, 0))
    connection = await connected(broker)
    assert broker.asked == [(API_VERSIONS, 3, "me"), (API_VERSIONS, 0, "me")]
    assert connection.serves("ListGroups")


@pytest.mark.parametrize(
    ("served", "told"),
    [
        ({"Metadata": (0, 1)}, "serves ListGroups not"),
        ({"ListGroups": (90, 91)}, "in versions 90 to 91 only"),
    ],
)
async def test_what_the_broker_does_not_serve_is_told(served: dict[str, tuple[int, int]], told: str) -> None:
    connection = await connected(Broker(**served))
    with pytest.raises(UnsupportedVersion, match=told):
        await connection.request(ListGroupsRequest())
    assert not connection.serves("ListGroups")
    assert not connection.closed


async def test_a_broker_that_refuses_at_once_is_told() -> None:
    refuse = ApiVersionsResponse(ClusterAuthorizationFailed.code, [])
    with pytest.raises(ClusterAuthorizationFailed, match="CLUSTER_AUTHORIZATION_FAILED: from broker:1"):
        await connected(Broker(instead(API_VERSIONS, refuse)))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "closed the connection instead of answering ListGroups v5"),
        (Broker.hang, "did not answer ListGroups within"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks HTTP, not Kafka"),
        (struct.pack(">i", MOST_BYTES + 1), "does not speak Kafka"),
        (struct.pack(">i", -1), "does not speak Kafka"),
        (struct.pack(">iib", 5, 99, 0), "answered another request than ListGroups"),
        (struct.pack(">ih", 2, 1), "gave no answer to ListGroups v5"),
        (struct.pack(">i", 100) + b"x", "closed the connection"),
    ],
    ids=["hangs up", "silent", "http", "huge", "negative", "other", "no header", "torn"],
)
async def test_an_answer_that_does_not_come_ends_the_connection(answer: Any, told: str) -> None:
    broker = Broker(instead(LIST_GROUPS, answer))
    connection = await connected(broker)
    if answer is Broker.hang:
        connection._seconds = 0.01
    with pytest.raises(Unreachable, match=told):
        await connection.request(ListGroupsRequest())
    assert connection.closed
    assert broker.closed
    with pytest.raises(Unreachable, match="is closed"):
        await connection.request(ListGroupsRequest())


@pytest.mark.parametrize(("answer", "asked"), [(None, 2), (Broker.hang, 1)], ids=["hangs up", "silent"])
async def test_only_who_was_hung_up_on_asks_again(
    answer: Any, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker without a timely answer may have done the work: a second DeleteGroups would find nothing."""
    brokers = [Broker(instead(LIST_GROUPS, answer)), Broker(instead(LIST_GROUPS, answer))]
    connections = [await connected(broker) for broker in brokers]
    waiting = iter(connections)
    for connection in connections:
        connection.used = True
        connection._seconds = 0.01

    async def connect(*_: Any, **__: Any) -> Connection:
        return next(waiting)

    monkeypatch.setattr(cluster, "connect", connect)
    asking = cluster.Client("broker.test:9092")
    with pytest.raises(Unreachable):
        await asking._ask("broker.test", 9092, ListGroupsRequest(), None)
    assert sum(key == LIST_GROUPS for broker in brokers for key, *_ in broker.asked) == asked


async def test_nonsense_in_an_answer_is_told() -> None:
    broker = Broker(instead(LIST_GROUPS, struct.pack(">iibb", 6, 2, 0, 0)))
    connection = await connected(broker)
    with pytest.raises(Unreachable, match="what is no ListGroupsResponse"):
        await connection.request(ListGroupsRequest())


async def test_who_stops_waiting_leaves_no_answer_to_the_next() -> None:
    connection = await connected(Broker(instead(LIST_GROUPS, Broker.hang)))
    with anyio.move_on_after(0.01):
        await connection.request(ListGroupsRequest())
    assert connection.closed


async def test_requests_at_the_same_time_wait_for_each_other() -> None:
    broker = Broker()
    connection = await connected(broker)
    answers = []

    async def ask() -> None:
        answers.append(await connection.request(ListGroupsRequest()))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
    assert len(answers) == 5
