"""The route of an (API, version), and a request that follows it."""

from __future__ import annotations

import struct
from typing import Any

from kgw_core.api.registry import Api
from kgw_core.broker import Broker, RequestContext
from kgw_core.events import Client
from kgw_core.steps import at_once
from kgw_core.wire import (
    MalformedMessage,
    decoder,
    encoder,
    index,
    message,
    request_header_version,
    response_header_version,
)
from kgw_core.wire.base import Message
from kgw_core.wire.codecs import StepwiseDecoder, stepwise_decoder
from kgw_core.wire.messages.request_header import RequestHeader

HEAD = struct.Struct(">hhih")
"""API key, version, correlation id, and the length of the client id."""
_ID_LENGTH = struct.Struct(">h")


class Route:
    """The handler and the codecs of one (API, version)."""

    __slots__ = (
        "_decode_in_steps",
        "api",
        "decode",
        "encode",
        "flexible_request",
        "flexible_response",
        "name",
        "version",
    )

    def __init__(self, api: Api, version: int) -> None:
        definition = index.APIS[api.key]
        self.api = api
        self.name = api.name
        self.version = version
        self.decode = decoder(message(definition.request), version)
        self._decode_in_steps: StepwiseDecoder[Message] | None = None  # made for the first large request
        self.encode = encoder(message(definition.response), version)
        self.flexible_request = request_header_version(api.key, version) == 2
        self.flexible_response = response_header_version(api.key, version) == 1

    @property
    def decode_in_steps(self) -> StepwiseDecoder[Message]:
        """The stepwise decoder of the request."""
        if self._decode_in_steps is None:
            self._decode_in_steps = stepwise_decoder(self.request_class, self.version)
        return self._decode_in_steps

    @property
    def request_class(self) -> type[Message]:
        """The class of the request."""
        return message(index.APIS[self.api.key].request)

    def read_header(self, frame: memoryview, client: Client, most_entries: int) -> int:
        """Read the header of a frame that may be cut off; return the position of the request's body.

        :raises MalformedMessage: the header is malformed or cut off.
        """
        if len(frame) < HEAD.size:
            raise MalformedMessage("RequestHeader: it is not whole")
        id_length: int = _ID_LENGTH.unpack_from(frame, HEAD.size - _ID_LENGTH.size)[0]
        at = HEAD.size + max(id_length, 0)
        if self.flexible_request and (at >= len(frame) or frame[at] != 0):
            header, at, _ = at_once(stepwise_decoder(RequestHeader, 2)(frame, 0, most_entries))
            client.client_id = header.client_id
            return at
        if at > len(frame):
            raise MalformedMessage(f"RequestHeader: client id of {id_length} bytes runs over")
        if client.client_id is None and id_length >= 0:
            client.client_id = str(frame[HEAD.size : at], "utf-8", "replace")
        return at + self.flexible_request


class Request(RequestContext):
    """A request from its decoding to its answer. ``body`` is the decoded message."""

    __slots__ = ("body", "correlation", "route")

    def __init__(
        self, broker: Broker, client: Client, route: Route, correlation: int, body: Any, own_bytes: int = 0
    ) -> None:
        # Sets the fields of RequestContext itself: a second call would cost each request.
        self.broker = broker
        self.client = client
        self.api = route.name
        self.version = route.version
        self.own_bytes = own_bytes
        self.entries = 0
        self.route = route
        self.correlation = correlation
        self.body = body
