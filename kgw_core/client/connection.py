"""A connection to one broker: sends one request at a time, in a version that both sides know."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from functools import cache
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from kgw_core import wire
from kgw_core.client.failures import HungUp, Unreachable, check
from kgw_core.errors import UnsupportedVersion
from kgw_core.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from kgw_core.wire.messages.request_header import RequestHeader
from kgw_core.wire.messages.response_header import ResponseHeader

API_VERSIONS, ASKED_IN = 18, 3
MOST_BYTES = 512 << 20
"""The largest length of an answer. With a larger one, the other side speaks another protocol."""

_TLS_ALERT = 0x1503
"""The first bytes of an alert (RFC 8446, 5.1), which a TLS listener sends to a client without TLS."""

_LENGTH = struct.Struct(">i")
_CODE = struct.Struct(">h")


class Connection:
    """A connection of :func:`connect`. ``seconds`` is the timeout of each request.

    ``newest`` limits the versions by API name. A connection that failed is ``closed`` and of no more use.
    """

    def __init__(
        self, stream: anyio.abc.SocketStream, where: str, client_id: str, seconds: float,
        newest: Mapping[str, int],
    ) -> None:  # fmt: skip
        self.where = where
        self.closed = False
        self.used = False
        """Whether a request was answered. The broker may then have closed the connection as idle."""
        self._stream = stream
        self._incoming = BufferedByteReceiveStream(stream)
        self._client_id = client_id
        self._seconds = seconds
        self._newest = newest
        self._served: dict[int, tuple[int, int]] = {}
        self._stranger = False
        """Whether the other side is known to speak another protocol."""
        self._correlation = 0
        self._lock = anyio.Lock()

    async def close(self) -> None:
        """Close the connection."""
        self.closed = True
        await anyio.aclose_forcefully(self._stream)

    # -- versions

    async def _introduce(self) -> None:
        """Learn the broker's versions (KIP-511: an older broker answers with an error in v0)."""
        request = ApiVersionsRequest("kgw", software_version())
        version = min(ASKED_IN, self._newest.get("ApiVersions", ASKED_IN))
        try:
            body = await self._exchange(request, version)
        except Unreachable as error:
            if self._stranger:
                raise
            raise type(error)(f"{error}; is it a Kafka listener, without TLS and SASL?") from None
        if version and len(body) >= _CODE.size and _CODE.unpack_from(body)[0] == UnsupportedVersion.code:
            version, body = 0, await self._exchange(request, 0)
        answer = self._decoded(ApiVersionsResponse, version, body)
        check(answer.error_code, f"from {self.where}")
        self._served = {api.api_key: (api.min_version, api.max_version) for api in answer.api_keys}

    def serves(self, api: str) -> bool:
        """Whether there is a version of this API that both know."""
        key = _KEYS[api]
        return self._common(key, wire.index.APIS[key].latest_stable) is not None

    def version(self, key: int, newest: int | None = None) -> int:
        """The version of a request, at most ``newest``. :raises UnsupportedVersion: there is none."""
        api = wire.index.APIS[key]
        most = api.latest_stable if newest is None else min(newest, api.latest_stable)
        found = self._common(key, most)
        if found is None:
            has = self._served.get(key)
            served = f"in versions {has[0]} to {has[1]} only" if has is not None else "not"
            raise UnsupportedVersion(f"{self.where} serves {api.name} {served}")
        return found

    def _common(self, key: int, most: int) -> int | None:
        api = wire.index.APIS[key]
        if key not in self._served:
            return None
        least, theirs = self._served[key]
        found = min(theirs, most, self._newest.get(api.name, most))
        return found if found >= max(least, api.min_version) else None

    # -- requests

    async def request(self, request: wire.Message, newest: int | None = None) -> Any:
        """The answer to ``request``, which is sent in a version of at most ``newest``.

        :raises UnsupportedVersion: the broker does not serve the request.
        :raises Unreachable: no answer came, or a malformed one.
        """
        key = request.API_KEY
        assert key is not None
        version = self.version(key, newest)
        body = await self._exchange(request, version)
        answer = self._decoded(wire.message(wire.index.APIS[key].response), version, body)
        self.used = True
        return answer

    async def _exchange(self, request: wire.Message, version: int) -> memoryview:
        """Send the request; return the answer without its header."""
        key = request.API_KEY
        assert key is not None
        name = wire.index.APIS[key].name
        async with self._lock:
            if self.closed:
                raise HungUp(f"the connection to {self.where} is closed")
            self._correlation += 1
            header = RequestHeader(key, version, self._correlation, self._client_id)
            head = wire.encode(header, wire.request_header_version(key, version))
            frame = head + wire.encode(request, version)
            try:
                with anyio.fail_after(self._seconds):
                    await self._stream.send(_LENGTH.pack(len(frame)) + frame)
                    answer = await self._receive()
            except TimeoutError:
                await self._fail(f"{self.where} did not answer {name} within {self._seconds:g} s")
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, OSError):
                reason = f"{self.where} closed the connection instead of answering {name} v{version}"
                await self._fail(reason, HungUp)
            except BaseException:  # a late answer would count as the next request's
                with anyio.CancelScope(shield=True):
                    await self.close()
                raise
            decode_header = wire.decoder(ResponseHeader, wire.response_header_version(key, version))
            try:
                response_header, at = decode_header(answer, 0)
            except wire.MalformedMessage as error:
                await self._fail(f"{self.where} gave no answer to {name} v{version}: {error}")
            if response_header.correlation_id != self._correlation:
                await self._fail(f"{self.where} answered another request than {name}")
            return answer[at:]

    async def _receive(self) -> memoryview:
        (size,) = _LENGTH.unpack(await self._incoming.receive_exactly(_LENGTH.size))
        alert = not self._served and size >> 16 == _TLS_ALERT  # a first answer is never that long
        if not 0 <= size <= MOST_BYTES or alert:
            self._stranger = True
            await self._fail(f"{self.where} {_stranger(size)}")
        return memoryview(await self._incoming.receive_exactly(size))

    async def _fail(self, why: str, kind: type[Unreachable] = Unreachable) -> Any:
        with anyio.CancelScope(shield=True):
            await self.close()
        raise kind(why) from None

    def _decoded(self, kind: type[Any], version: int, body: memoryview) -> Any:
        try:
            return wire.decoder(kind, version)(body, 0)[0]
        except wire.MalformedMessage as error:
            raise Unreachable(f"{self.where} answered with what is no {kind.__name__}: {error}") from None


def _stranger(size: int) -> str:
    """A guess at the other side's protocol, by the bytes in place of an answer's length."""
    if size >> 16 == _TLS_ALERT:
        return "wants TLS, which is not spoken here"
    if _LENGTH.pack(size) == b"HTTP":
        return "speaks HTTP, not Kafka"
    return f"does not speak Kafka: an answer of {size} bytes"


@cache
def software_version() -> str:
    """The installed version of the core, in the characters that KIP-511 allows."""
    import importlib.metadata
    import re

    try:
        version = importlib.metadata.version("kgw-core")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
    return re.sub("[^a-zA-Z0-9.-]+", "-", version).strip("-.")


_KEYS = {api.name: api.key for api in wire.index.APIS.values()}


async def connect(
    host: str, port: int, *, client_id: str, seconds: float, newest: Mapping[str, int] | None = None
) -> Connection:
    """Connect, and learn which versions the broker serves. :raises Unreachable: it cannot be done."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        with anyio.fail_after(seconds):
            stream = await anyio.connect_tcp(host, port)
    except TimeoutError:
        raise Unreachable(f"{where} cannot be connected to within {seconds:g} s") from None
    except OSError as error:
        raise Unreachable(f"{where} cannot be connected to: {_reason(error)}") from None
    connection = Connection(stream, where, client_id, seconds, newest or {})
    try:
        await connection._introduce()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await connection.close()
        raise
    return connection


def _reason(error: BaseException) -> str:
    """The system's message, from within ``error``: anyio wraps a failure for each address."""
    while error.__cause__ is not None:
        error = error.__cause__
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    number = getattr(error, "errno", None) or 0  # below 0 if a name was not found
    text = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:]
