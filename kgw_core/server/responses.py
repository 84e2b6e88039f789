"""From a response, or an exception, to the frame of the answer.

This is the only place that turns an exception into the response to a whole request.
"""

from __future__ import annotations

import struct
from typing import Any, Final, TypeAlias

from kgw_core.errors import InvalidRequest, KafkaError, Unanswerable, UnknownServerError
from kgw_core.server.routes import Request, Route
from kgw_core.wire import Buffer
from kgw_core.wire.base import Message
from kgw_core.wire.plan import has_version

Frame: TypeAlias = bytes | list[Buffer]
"""A frame with its length, whole or in parts."""

Answer: TypeAlias = Frame | None
"""A frame to send; None if the client expects no answer."""

JOINED: Final = 16 << 10
"""An answer of up to this many bytes is joined to one piece. Large parts of a larger one are not copied."""

LARGEST: Final = 2**31 - 10
"""The largest response: the largest length of a frame, less a header."""

_PLAIN = struct.Struct(">ii")
_FLEXIBLE = struct.Struct(">iiB")


class TooLarge(InvalidRequest):
    """A response is larger than limits.max_total_queued_bytes."""


class Responses:
    """Makes the frames of answers. ``most`` is the most bytes of a response."""

    def __init__(self, most: int) -> None:
        self._largest = min(most, LARGEST)

    def encoded(self, route: Route, correlation: int, response: Any) -> Frame:
        """The frame of a response.

        :raises TooLarge: the response is larger than allowed.
        :raises MalformedMessage: the response cannot be written.
        """
        parts: list[Buffer] = [b""]
        route.encode(response, parts.append)
        size = sum(map(len, parts))
        if size > self._largest:
            found = f"the answer would have {size} bytes; allowed are {self._largest}"
            raise TooLarge(f"{found} (limits.max_total_queued_bytes): ask for less at once")
        if route.flexible_response:
            parts[0] = _FLEXIBLE.pack(size + 5, correlation, 0)
        else:
            parts[0] = _PLAIN.pack(size + 4, correlation)
        if size <= JOINED:
            return b"".join(parts)
        return _joined(parts)

    def refusal(self, request: Request, error: Exception) -> Any:
        """The response for ``error``. :raises Unanswerable: ``error`` is one."""
        return request.route.api.refuse(request.body, self.client_error(request, error), request)

    @staticmethod
    def client_error(request: Request, error: Exception) -> KafkaError:
        """The error for the client; it is reported. :raises Unanswerable: ``error`` is one."""
        if isinstance(error, Unanswerable):
            raise error
        if not isinstance(error, KafkaError):
            request.client.crashed(request.api, error)
            error = UnknownServerError(f"the gateway failed at this request: {error!r}")
        request.failed(error)
        return error

    def fallback(self, request: Request, error: Exception) -> Frame:
        """The answer in place of a response that cannot be encoded."""
        response = request.route.api.refuse(request.body, self.encoding_error(request, error), request)
        return self.encoded(request.route, request.correlation, response)

    def encoding_error(self, request: Request, error: Exception) -> KafkaError:
        """The error for the client if a response cannot be encoded. That is a fault of the gateway, unless
        the response is too large."""
        if not isinstance(error, TooLarge):
            request.client.crashed(request.api, error)
            error = UnknownServerError(f"the gateway's answer could not be written: {error}")
        return self.client_error(request, error)

    def refused_unread(self, request: Request, error: KafkaError) -> Frame:
        """The answer to a request whose body was not decoded.

        :raises Unanswerable: in this version a response has no error about the whole request.
        """
        request.body = request.route.request_class()
        response = self.refusal(request, error)
        if not _has_error(response, request.version):
            raise Unanswerable(str(error))
        return self.encoded(request.route, request.correlation, response)


def _has_error(response: Message, version: int) -> bool:
    """Whether this version of the response carries an error about the whole request."""
    cls = type(response)
    if not getattr(response, "error_code", 0):
        return False
    return has_version(cls.SCHEMA[cls.__slots__.index("error_code")].versions, version)


def _joined(parts: list[Buffer]) -> list[Buffer]:
    """Large parts unchanged, and runs of small ones joined."""
    joined: list[Buffer] = []
    small: list[Buffer] = []
    for part in parts:
        if len(part) < JOINED:
            small.append(part)
            continue
        if small:
            joined.append(b"".join(small))
            small.clear()
        joined.append(part)
    if small:
        joined.append(b"".join(small))
    return joined
