"""Parses the addresses in settings."""

from __future__ import annotations

import socket


def split_address(text: str) -> tuple[str, int | None]:
    """Host and port of ``"host:port"``, ``"host"``, ``"[::1]:9092"`` or ``"::1"``.

    :raises ValueError: there is no host, or the port is not 1 to 65535. The message is for people.
    """
    host, colon, port = text.rpartition(":")
    if not colon or (host.count(":") and not host.endswith("]")) or text.endswith("]"):
        host, port = text, ""
    elif not (port.isdecimal() and port.isascii() and 1 <= int(port) <= 65535):
        raise ValueError(f'"{text}" is not an address: expected "host:port" or "host"')
    host = host.removeprefix("[").removesuffix("]")
    if ":" in host and not _is_ipv6(host):
        raise ValueError(f'"{text}" is not an address: expected "host:port" or "host"')
    if not host or any(char.isspace() or char == "/" for char in host):
        raise ValueError(f'"{text}" is not an address: expected "host:port" or "host"')
    return host, int(port) if port else None


def _is_ipv6(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return False
    return True


def check_host(host: str) -> None:
    """Return if the host of a listener is well formed. :raises ValueError: no address could be bound to
    it."""
    if not host:
        raise ValueError('is empty; "0.0.0.0" is every IPv4 address, "::" every address')
    if host == "unix:":
        raise ValueError('"unix:" needs a path after it')
    if host.startswith("unix:"):
        return
    bare, port = split_address(host)
    if port is not None:
        raise ValueError(f'"{host}" has a port, which belongs into port = {port}; the host is "{bare}"')
    if bare != host:
        raise ValueError(f'"{host}" has brackets; expected "{bare}"')
