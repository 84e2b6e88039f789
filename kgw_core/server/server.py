"""The listeners of a gateway, and their connections. Kafka's SocketServer and ConnectionQuotas."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections import Counter
from functools import partial

import anyio
import anyio.lowlevel
import msgspec

from kgw_core.addresses import split_address
from kgw_core.background import Faults
from kgw_core.budget import Budget
from kgw_core.coalescer import Coalescer
from kgw_core.config import Limits, Listener
from kgw_core.drain_timeout import DrainTimeout
from kgw_core.events import Client
from kgw_core.records.arena import Arena
from kgw_core.server.arriving import PREFIX
from kgw_core.server.connection import SHARED_SIZE, Connection
from kgw_core.server.dispatch import Dispatcher
from kgw_core.server.sockets import UNIX, Address, address_of, is_unix

logger = logging.getLogger("kgw")

_CHECKED = 1000
"""How many connections are checked before the event loop serves others."""


class Server:
    """Accepts connections, counts them, and checks their timeouts. The Host of its connections.

    ``shared`` is the receive buffer of all connections that are between frames. The event loop reads into it
    and calls the connection at once, so it is empty again before the next read.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: Limits,
        budget: Budget | None = None,
        coalescer: Coalescer | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.coalescer = coalescer or Coalescer()
        self.limits = self._settings = limits
        self.budget = budget or Budget(limits.max_total_in_flight_bytes)
        self.budget.on_exhausted = self._exhausted
        self.shared = memoryview(bytearray(min(SHARED_SIZE, limits.max_request_size + PREFIX)))
        self.arena = Arena()
        self.connections: set[Connection] = set()
        self._per_address: Counter[str] = Counter()
        self._listeners: list[asyncio.Server] = []
        self._paths: list[str] = []  # of Unix sockets
        self._advertised: dict[str, Listener] = {}
        self._count = 0
        self._unread: dict[Connection, int] = {}
        self._unread_bytes = 0
        self._gone = anyio.Event()

    # -- listening

    async def listen(self, listener: Listener, socks: list[socket.socket]) -> list[Address]:
        """Serve the sockets of a listener; return their addresses. Removes the sockets from the list."""
        self._advertised[listener.name] = listener
        loop, factory = asyncio.get_running_loop(), partial(Connection, self, listener.name)
        listen = loop.create_unix_server if is_unix(listener.host) else loop.create_server
        addresses = [address_of(sock.getsockname()) for sock in socks]
        if is_unix(listener.host):
            self._paths.append(listener.host.removeprefix(UNIX))
        while socks:
            self._listeners.append(await listen(factory, sock=socks[0], backlog=listener.backlog))
            del socks[0]
        return addresses

    def advertised(self, listener: str, local: Address) -> Address:
        """The address that Metadata gives to a client that was accepted at ``local``."""
        settings = self._advertised[listener]
        if settings.advertise is None:
            return local
        host, port = split_address(settings.advertise)
        return host, port if port is not None else local[1]

    # -- connections

    def limit_connections(self, most: int, per_address: int | None) -> None:
        """Change the limits of connections. Open connections stay."""
        self.limits = msgspec.structs.replace(
            self.limits, max_connections=most, max_connections_per_address=per_address
        )

    def admit(self, connection: Connection, transport: asyncio.Transport) -> str | None:
        """Count the connection and set its client. Return the reason if it is refused."""
        peer = address_of(transport.get_extra_info("peername"))
        local = address_of(transport.get_extra_info("sockname"))
        self._count += 1
        connection.client = Client(
            self._count, peer[0], peer[1], connection.listener, self.advertised(connection.listener, local)
        )
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections.add(connection)
        self._per_address[peer[0]] += 1
        if len(self.connections) > self.limits.max_connections:
            setting = self._name_of("max_connections", "max.connections")
            return f"more than {self.limits.max_connections} connections ({setting})"
        most = self.limits.max_connections_per_address
        if most is not None and self._per_address[peer[0]] > most:
            setting = self._name_of("max_connections_per_address", "max.connections.per.ip")
            return f"more than {most} connections from {peer[0]} ({setting})"
        return None

    def _name_of(self, setting: str, config: str) -> str:
        """The name of a limit: the setting, or the Kafka config if it was changed at run time."""
        changed = getattr(self.limits, setting) != getattr(self._settings, setting)
        return config if changed else f"limits.{setting}"

    def gone(self, connection: Connection) -> None:
        """The connection is closed."""
        self.connections.discard(connection)
        self.unread(connection, 0)
        host = connection.client.host
        self._per_address[host] -= 1
        if not self._per_address[host]:
            del self._per_address[host]
        if not self.connections:
            self._gone.set()

    @staticmethod
    def now() -> float:
        """The time of timeouts, in seconds."""
        return time.monotonic()

    @property
    def check_interval(self) -> float:
        """Seconds between two :meth:`check_timeouts`: a quarter of the shortest timeout, at most one."""
        limits = self.limits
        timeouts = (limits.idle_timeout, limits.handshake_timeout, limits.frame_timeout)
        return min(1.0, *(timeout / 4 for timeout in timeouts if timeout))

    async def check_timeouts(self) -> None:
        """Close connections whose timeouts have passed. Connections have no timers of their own, so one may
        be closed up to :attr:`check_interval` late.

        :raises PartlyFailed: the check of some connections failed; the others were checked.
        """
        now, unread = self.now(), 0
        faults = Faults("connection(s)")
        for index, connection in enumerate(list(self.connections)):
            if index % _CHECKED == _CHECKED - 1:
                await anyio.lowlevel.checkpoint()
            if connection in self.connections:
                try:
                    unread += connection.check_timeouts(now)
                except Exception as error:
                    faults.add(connection.client, error)
        if unread > self.limits.max_total_queued_bytes:
            self._relieve({connection: connection.unsent() for connection in self.connections})
        faults.tell()

    def _exhausted(self) -> None:
        """The budget is used up: no connection is read until there is room."""
        logger.warning(
            "requests in flight and appends that wait take %d bytes, more than %d "
            "(limits.max_total_in_flight_bytes): reading stops",
            self.budget.used,
            self.budget.limit,
        )
        for connection in list(self.connections):
            connection.budget_exhausted()

    def unread(self, connection: Connection, size: int) -> None:
        """``size`` bytes of answers wait for a client that does not read; 0 if it reads again."""
        before = self._unread.pop(connection, 0)
        if size:
            self._unread[connection] = size
        self._unread_bytes += size - before
        if self._unread_bytes > self.limits.max_total_queued_bytes:
            self._relieve({each: each.unsent() for each in self._unread})

    def _relieve(self, unread: dict[Connection, int]) -> None:
        """Close the connections with the most unread bytes until the others are within the limit."""
        most = self.limits.max_total_queued_bytes
        total = sum(unread.values())
        for connection, size in sorted(unread.items(), key=lambda item: item[1], reverse=True):
            if total <= most:
                return
            connection.expire(
                f"{size} bytes of answers are unread, and all connections' are more than {most} "
                "(limits.max_total_queued_bytes)"
            )
            total -= size
            self.unread(connection, 0)

    # -- stopping

    async def _all_gone(self) -> None:
        while self.connections:
            self._gone = anyio.Event()
            await self._gone.wait()

    async def stop_listening(self) -> None:
        """Accept no more connections."""
        for path in self._paths:
            with contextlib.suppress(OSError):
                os.unlink(path)
        for server in self._listeners:
            server.close()

    async def drain(self, drain_timeout: DrainTimeout) -> None:
        """Answer all requests within the timeout, then close all connections."""
        for connection in list(self.connections):
            connection.drain()
        with drain_timeout.waiting():
            await self._all_gone()
        if self.connections:
            logger.warning(
                "%d connections were not done within %g s", len(self.connections), drain_timeout.seconds
            )
        for connection in list(self.connections):
            connection.abort()
        await self._all_gone()
