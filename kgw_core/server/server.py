"""The listeners of a gateway and the connections that came through them."""

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
from kgw_core.config import Limits, Listener
from kgw_core.events import Client
from kgw_core.gathering import Gathering
from kgw_core.patience import Patience
from kgw_core.records.arena import Arena
from kgw_core.server.arriving import PREFIX
from kgw_core.server.connection import SHARED_SIZE, Connection
from kgw_core.server.dispatch import Dispatcher
from kgw_core.server.sockets import UNIX, Address, address_of, is_unix

logger = logging.getLogger("kgw")

_LOOKED_AT = 1000
"""How many connections are looked at before others get their turn."""


class Server:
    """Accepts connections and keeps account of them.

    ``shared`` is the receive buffer of all connections that are between frames: the event loop reads into
    it and hands the bytes over in one go, so it is empty again before the next read. While ``gathering`` is
    open, answers that are finished wait to leave together.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: Limits,
        budget: Budget | None = None,
        gathering: Gathering | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.gathering = gathering or Gathering()
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
        """Open a listener on sockets that take connections for it; return their addresses. Takes them off the
        list."""
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
        """What a client that was accepted at ``local`` is told to dial."""
        settings = self._advertised[listener]
        if settings.advertise is None:
            return local
        host, port = split_address(settings.advertise)
        return host, port if port is not None else local[1]

    # -- connections

    def limit_connections(self, most: int, per_address: int | None) -> None:
        """Admit no more than these from now on; who is connected stays."""
        self.limits = msgspec.structs.replace(
            self.limits, max_connections=most, max_connections_per_address=per_address
        )

    def admit(self, connection: Connection, transport: asyncio.Transport) -> str | None:
        """Take the connection into account; return why it is refused, if it is."""
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
            said = self._said_by("max_connections", "max.connections")
            return f"more than {self.limits.max_connections} connections ({said})"
        most = self.limits.max_connections_per_address
        if most is not None and self._per_address[peer[0]] > most:
            said = self._said_by("max_connections_per_address", "max.connections.per.ip")
            return f"more than {most} connections from {peer[0]} ({said})"
        return None

    def _said_by(self, setting: str, config: str) -> str:
        """The setting that a limit comes from, or the config where it was set at run time."""
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
        """The time that connections measure with, seconds."""
        return time.monotonic()

    @property
    def look_interval(self) -> float:
        """Seconds from one :meth:`look` to the next: a quarter of the shortest limit, at most one."""
        limits = self.limits
        timeouts = (limits.idle_timeout, limits.handshake_timeout, limits.frame_timeout)
        return min(1.0, *(timeout / 4 for timeout in timeouts if timeout))

    async def look(self) -> None:
        """Close connections that take longer than a limit. None has a timer of its own, so one is closed up
        to :attr:`look_interval` late.

        :raises PartlyFailed: some could not be looked at; the others were.
        """
        now, unread = self.now(), 0
        faults = Faults("connection(s)")
        for index, connection in enumerate(list(self.connections)):
            if index % _LOOKED_AT == _LOOKED_AT - 1:
                await anyio.lowlevel.checkpoint()
            if connection in self.connections:
                try:
                    unread += connection.look(now)
                except Exception as error:
                    faults.add(connection.client, error)
        if unread > self.limits.max_total_queued_bytes:
            self._relieve({connection: connection.unsent() for connection in self.connections})
        faults.tell()

    def _exhausted(self) -> None:
        """Requests take more than they may in all: nobody is read until there is room."""
        logger.warning(
            "requests in flight and appends that wait take %d bytes, more than %d "
            "(limits.max_total_in_flight_bytes): reading stops",
            self.budget.used,
            self.budget.limit,
        )
        for connection in list(self.connections):
            connection.press()

    def unread(self, connection: Connection, size: int) -> None:
        """The client does not read, and ``size`` bytes wait for it; 0: it does."""
        before = self._unread.pop(connection, 0)
        if size:
            self._unread[connection] = size
        self._unread_bytes += size - before
        if self._unread_bytes > self.limits.max_total_queued_bytes:
            self._relieve({each: each.unsent() for each in self._unread})

    def _relieve(self, unread: dict[Connection, int]) -> None:
        """Close those that leave the most unread until the others are within the limit."""
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

    # -- the end

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

    async def drain(self, patience: Patience) -> None:
        """Answer what has been asked, as long as ``patience`` lasts; then close all connections."""
        for connection in list(self.connections):
            connection.drain()
        with patience.waiting():
            await self._all_gone()
        if self.connections:
            logger.warning(
                "%d connections were not done within %g s", len(self.connections), patience.seconds
            )
        for connection in list(self.connections):
            connection.abort()
        await self._all_gone()
