"""Binds the sockets of a listener.

The event loop's ``create_server`` cannot bind "::" for both families, nor one free port for all addresses of
a name, and its errors repeat the address.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from typing import Final

from kgw_core.config import Listener

Address = tuple[str, int]
"""Host and port; for a Unix socket ``unix:`` with its path, and 0."""

UNIX: Final = "unix:"


def is_unix(host: str) -> bool:
    """Whether the host of a listener is the path of a Unix socket."""
    return host.startswith(UNIX)


async def bind(listener: Listener) -> list[socket.socket]:
    """A socket for each address of the listener's host, all with one port. A Unix socket listens at once.

    :raises OSError: no address can be bound, one is in use, the name is unknown, or the system has no Unix
        sockets. ``strerror`` does not name the address.
    """
    host = listener.host
    if is_unix(host):
        return [_unix(host.removeprefix(UNIX), listener.backlog)]
    if host in ("", "::") and socket.has_dualstack_ipv6():
        return [_bound(socket.AF_INET6, ("::", listener.port), dual=True)]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host or "0.0.0.0", listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    bound: list[socket.socket] = []
    port, missing = listener.port, None
    try:
        for family, place in dict.fromkeys((family, place) for family, _, _, _, place in found):
            try:
                sock = _bound(family, (place[0], port, *place[2:]))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error  # for example ::1 of "localhost" on a system without IPv6
            else:
                bound.append(sock)
                port = sock.getsockname()[1]
    except BaseException:
        for sock in bound:
            sock.close()
        raise
    if missing is not None and not bound:
        raise missing
    return bound


def take_connections(listener: Listener, socks: list[socket.socket]) -> None:
    """Listen on the sockets of :func:`bind`; the backlog takes connections until the server is ready.

    :raises OSError: another process listens on the address.
    """
    for sock in socks:
        sock.listen(listener.backlog)


def release(listener: Listener, socks: list[socket.socket]) -> None:
    """Close sockets of :func:`bind` that no server has taken."""
    for sock in socks:
        sock.close()
    if socks and is_unix(listener.host):
        with contextlib.suppress(OSError):
            os.unlink(listener.host.removeprefix(UNIX))


def _bound(family: int, place: tuple[str | int, ...], *, dual: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two processes listen on one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and hasattr(socket, "IPV6_V6ONLY"):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        sock.bind(place)
    except BaseException:
        sock.close()
        raise
    return sock


def _unix(path: str, backlog: int) -> socket.socket:
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise OSError(errno.EAFNOSUPPORT, "this system has no Unix sockets")
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _remove_left_over(path, family)
        sock.bind(path)
        sock.listen(backlog)  # at once: another gateway that starts would take it for a left-over
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_left_over(path: str, family: int) -> None:
    """Remove the socket of a gateway that was killed. :raises OSError: a process listens there."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def address_of(name: object) -> Address:
    """Host and port of a socket's name. IPv4 addresses mapped into IPv6 become IPv4."""
    if isinstance(name, tuple) and len(name) >= 2:
        host, port = name[0], name[1]
        return (host.removeprefix("::ffff:") if "." in host else host), port
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    return (f"{UNIX}{name}" if name else "local", 0)
