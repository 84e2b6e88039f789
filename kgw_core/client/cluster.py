"""The client of a cluster: its connections, leaders and coordinators, and its retries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import anyio

from kgw_core import wire
from kgw_core.client.connection import Connection, connect
from kgw_core.client.failures import ClientError, HungUp, Unreachable, check, refusal
from kgw_core.errors import KafkaError, UnknownTopicOrPartition
from kgw_core.wire.messages.find_coordinator import FindCoordinatorRequest
from kgw_core.wire.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponseTopic

T = TypeVar("T")

PORT = 9092
WAIT = 0.1
"""Seconds between a retriable error and the next attempt."""

METADATA, CREATES_NONE = 3, 4
"""The first version of Metadata that can be coordinator not to create the topics that it names."""

FIND_COORDINATOR, GROUP = 10, 0
BATCHED = 4
"""The first version of FindCoordinator that takes several keys."""

_FINAL = (UnknownTopicOrPartition,)
"""Not retried though Kafka calls it retriable: a user who mistyped a topic does not want to wait."""


class Node(NamedTuple):
    """A broker with its advertised address."""

    id: int
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Client:
    """A client of the cluster of the brokers in ``bootstrap``; an async context manager.

    :param bootstrap: ``host[:port]``, several separated by commas.
    :param timeout: seconds for a request, and for all attempts of one that is retried.
    :param newest: the newest version to use, by API, to behave as with an older broker.
    :raises ClientError: ``bootstrap`` is no address.
    """

    def __init__(
        self, bootstrap: str, *, client_id: str = "kgw", timeout: float = 30.0,
        newest: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self._bootstrap = addresses(bootstrap)
        self._client_id = client_id
        self._timeout = timeout
        self._newest = newest
        self._connections: dict[tuple[str, int], Connection] = {}
        self._connecting = anyio.Lock()
        self._nodes: dict[int, Node] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            for connection in self._connections.values():
                await connection.close()

    # -- connections

    async def _connection(self, host: str, port: int) -> Connection:
        async with self._connecting:
            found = self._connections.get((host, port))
            if found is None or found.closed:
                found = await connect(
                    host, port, client_id=self._client_id, seconds=self._timeout, newest=self._newest
                )
                self._connections[host, port] = found
            return found

    async def _ask(self, host: str, port: int, request: wire.Message, newest: int | None) -> Any:
        connection = await self._connection(host, port)
        was_used = connection.used
        try:
            return await connection.request(request, newest)
        except HungUp:
            if not was_used:
                raise
        # The connection was probably idle for too long. A request that timed out is not sent twice.
        return await (await self._connection(host, port)).request(request, newest)

    async def ask(self, request: wire.Message, node: Node | None = None, newest: int | None = None) -> Any:
        """The answer of ``node``, or of any broker. The caller checks its error codes.

        :raises Unreachable: there was no answer.
        :raises UnsupportedVersion: the broker does not serve the request.
        """
        host, port = (node.host, node.port) if node is not None else await self._any()
        return await self._ask(host, port, request, newest)

    async def _any(self) -> tuple[str, int]:
        """The first of the bootstrap addresses that can be connected to."""
        failures: list[str] = []
        for host, port in self._bootstrap:
            try:
                await self._connection(host, port)
            except Unreachable as error:
                failures.append(str(error))
            else:
                return host, port
        raise Unreachable("; ".join(failures))

    async def serves(self, api: str, node: Node) -> bool:
        """Whether ``node`` serves an API."""
        return (await self._connection(node.host, node.port)).serves(api)

    async def version(self, request: wire.Message, node: Node, newest: int | None = None) -> int:
        """The version of a request to ``node``. :raises UnsupportedVersion: it does not serve the request."""
        assert request.API_KEY is not None
        return (await self._connection(node.host, node.port)).version(request.API_KEY, newest)

    async def retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of ``attempt``, which is retried after retriable errors until the timeout."""
        deadline = anyio.current_time() + self._timeout
        while True:
            try:
                return await attempt()
            except KafkaError as error:
                if not error.retriable or isinstance(error, _FINAL) or anyio.current_time() > deadline:
                    raise
            await anyio.sleep(WAIT)

    # -- brokers, topics, coordinators

    async def nodes(self) -> list[Node]:
        """All brokers. :raises Unreachable: no broker answers."""
        await self._metadata([])
        return sorted(self._nodes.values())

    async def topics(self, names: Iterable[str]) -> dict[str, MetadataResponseTopic]:
        """The topics of these names that exist. Creates none. :raises KafkaError: a topic has an error."""
        wanted = sorted(set(names))
        if not wanted:
            return {}

        async def look() -> dict[str, MetadataResponseTopic]:
            found = {}
            for topic in await self._metadata(wanted):
                if topic.error_code != UnknownTopicOrPartition.code:
                    check(topic.error_code, topic.name)
                    found[topic.name or ""] = topic
            return found

        return await self.retried(look)

    async def _metadata(self, names: list[str]) -> list[MetadataResponseTopic]:
        connection = await self._connection(*await self._any())
        if connection.version(METADATA) >= CREATES_NONE or not names:
            wanted = [MetadataRequestTopic(name=name) for name in names]
            request = MetadataRequest(wanted, connection.version(METADATA) < CREATES_NONE)
        else:  # an old broker might create a topic that is named
            request = MetadataRequest(None)
        answer = await self.ask(request)
        check(answer.error_code)
        self._nodes = {
            broker.node_id: Node(broker.node_id, broker.host, broker.port) for broker in answer.brokers
        }
        return [topic for topic in answer.topics if topic.name in names]

    def node(self, id: int) -> Node | None:
        """The broker with this id in the last metadata."""
        return self._nodes.get(id)

    async def coordinators(self, groups: Iterable[str]) -> dict[str, Node]:
        """The coordinator of each group. :raises KafkaError: one of them has no coordinator now."""
        wanted = list(groups)
        return await self.retried(lambda: self._coordinators(wanted))

    async def _coordinators(self, groups: list[str]) -> dict[str, Node]:
        if not groups:
            return {}
        batch = FindCoordinatorRequest(key_type=GROUP, coordinator_keys=groups)
        found: dict[str, Node] = {}
        connection = await self._connection(*await self._any())
        if connection.version(FIND_COORDINATOR) >= BATCHED:
            for coordinator in (await self.ask(batch)).coordinators:
                if coordinator.error_code:
                    raise refusal(coordinator.error_code, coordinator.error_message)
                found[coordinator.key] = Node(coordinator.node_id, coordinator.host, coordinator.port)
            return found
        for group in groups:
            coordinator = await self.ask(FindCoordinatorRequest(group), newest=BATCHED - 1)
            if coordinator.error_code:
                raise refusal(coordinator.error_code, coordinator.error_message)
            found[group] = Node(coordinator.node_id, coordinator.host, coordinator.port)
        return found


def addresses(text: str) -> list[tuple[str, int]]:
    """The addresses in ``host[:port],…``, with IPv6 addresses in brackets.

    :raises ClientError: there is no address, or one is wrong.
    """
    found = []
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        host, end, rest = part[1:].partition("]") if part[0] == "[" else _split(part)
        port = rest[1:] if rest else str(PORT)
        if (
            not host
            or any(char.isspace() or char in "/[]" for char in host)
            or rest[:1] not in ("", ":")
            or not (port.isdecimal() and port.isascii() and 0 < int(port) < 65_536)
            or (part[0] == "[" and not end)
        ):
            raise ClientError(f'"{part}" is no address: HOST or HOST:PORT is one')
        found.append((host, int(port)))
    if not found:
        raise ClientError(f'"{text}" has no address: HOST:PORT is one')
    return found


def _split(part: str) -> tuple[str, str, str]:
    host, colon, port = part.partition(":")
    return host, "", colon + port
