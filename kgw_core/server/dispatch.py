"""From a frame to its answer: reads the header, finds the handler of (API, version), decodes, encodes.

The only place where an exception becomes a response.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Coroutine, Mapping
from types import CoroutineType
from typing import Any, TypeAlias

from kgw_core.api.large import LargeAnswer
from kgw_core.api.registry import Api
from kgw_core.broker import Broker, RequestContext
from kgw_core.errors import KafkaError, Unanswerable, UnknownServerError
from kgw_core.events import Client
from kgw_core.pending import Pending
from kgw_core.server.large import LARGE, Asked, Steps, Turns
from kgw_core.steps import at_once
from kgw_core.wire import (
    Buffer,
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
from kgw_core.wire.failures import TooMany
from kgw_core.wire.messages.request_header import RequestHeader

logger = logging.getLogger(__name__)

Answer: TypeAlias = bytes | list[Buffer] | None
"""A frame to be sent, whole or in parts; None: the client expects nothing."""

API_VERSIONS = 18
JOINED = 16 << 10
"""Up to this many bytes an answer is one piece; above it, large parts leave without being copied."""

_COROUTINE = CoroutineType
_HEAD = struct.Struct(">hhih")
_PLAIN = struct.Struct(">ii")
_FLEXIBLE = struct.Struct(">iiB")


class Route:
    """What one (API, version) takes."""

    __slots__ = (
        "api",
        "decode",
        "decode_in_steps",
        "encode",
        "flexible_request",
        "flexible_response",
        "version",
    )

    def __init__(self, api: Api, version: int) -> None:
        definition = index.APIS[api.key]
        self.api = api
        self.version = version
        self.decode = decoder(message(definition.request), version)
        self.decode_in_steps: StepwiseDecoder[Message] | None = None  # made when a large one comes
        self.encode = encoder(message(definition.response), version)
        self.flexible_request = request_header_version(api.key, version) == 2
        self.flexible_response = response_header_version(api.key, version) == 1


class Dispatcher:
    """Turns frames into answers for all connections of a gateway."""

    def __init__(self, broker: Broker, apis: Mapping[int, Api]) -> None:
        self._broker = broker
        self._apis = apis
        self._routes: dict[int, Route] = {}
        self._request_header = decoder(RequestHeader, 2)
        self._turns = Turns(self)
        self._verbose = logger.isEnabledFor(logging.DEBUG)

    def start(self, frame: memoryview, client: Client, stable: bool) -> Answer | Pending[Answer]:
        """Begin with the request that ``frame`` holds (without its length).

        ``stable`` says that the frame is nobody else's: its bytes may be kept and written to.

        :raises Unanswerable: no header, an API or version that is not served, or a body that is not one.
        """
        try:
            key, version, correlation, id_length = _HEAD.unpack_from(frame)
        except struct.error:
            raise Unanswerable(f"a request of {len(frame)} bytes has no header") from None
        route = self._routes.get(key << 16 | version) or self._find_route(key, version, correlation)
        if not isinstance(route, Route):
            return route
        if len(frame) > LARGE:
            return self._turns.start(route, correlation, frame, client, stable, self._broker.spawn)
        try:
            at = 10 + id_length if id_length > 0 else 10
            if route.flexible_request and (at >= len(frame) or frame[at] != 0):
                header, at = self._request_header(frame, 0)
                client.client_id = header.client_id
            elif at > len(frame):
                raise MalformedMessage(f"RequestHeader: client id of {id_length} bytes runs over")
            else:
                if client.client_id is None and id_length >= 0:
                    client.client_id = str(frame[10:at], "utf-8", "replace")
                at += route.flexible_request
            request, end = route.decode(frame, at)
        except MalformedMessage as error:
            raise Unanswerable(f"{route.api.name} v{version}: {error}") from None
        if self._verbose:
            logger.debug("%s %s v%d #%d: %r", client, route.api.name, version, correlation, request)
            if end != len(frame):
                logger.debug("%s: %d bytes follow the request", client, len(frame) - end)
        context = RequestContext(self._broker, client, route.api.name, version, len(frame) if stable else 0)
        try:
            response = route.api.handle(request, context)
        except Exception as error:
            response = self.refused(route, request, error, context)
        if response is None:
            return None
        if type(response) is Pending:
            return self._when_done(route, correlation, request, context, response)
        if type(response) is _COROUTINE:
            return self._in_task(route, correlation, request, context, response)
        try:
            return self.encoded(route, correlation, response)
        except Exception as error:
            return self.instead(route, correlation, request, error, context)

    # -- large requests

    def read_in_steps(self, route: Route, frame: memoryview, client: Client) -> Steps:
        """The request in a frame of any size, and how many entries its arrays have; others may have their
        turn at each yield.

        :raises Unanswerable: it is none, or has more than limits.max_request_entries.
        """
        most = self._broker.config.limits.max_request_entries
        if route.decode_in_steps is None:
            definition = index.APIS[route.api.key]
            route.decode_in_steps = stepwise_decoder(message(definition.request), route.version)
        try:
            if route.flexible_request:
                header, at, _ = at_once(stepwise_decoder(RequestHeader, 2)(frame, 0, most))
            else:
                header, at = decoder(RequestHeader, 1)(frame, 0)
            client.client_id = header.client_id
            request, _, left = yield from route.decode_in_steps(frame, at, most)
        except MalformedMessage as error:
            if isinstance(error.__cause__, TooMany):
                told = f"{route.api.name} v{route.version} with more than {most} entries"
                raise Unanswerable(f"{told} (limits.max_request_entries)") from None
            raise Unanswerable(f"{route.api.name} v{route.version}: {error}") from None
        return request, most - left

    def context(self, route: Route, client: Client, frame: memoryview, stable: bool) -> RequestContext:
        """What the handler of a request gets beside it."""
        return RequestContext(
            self._broker, client, route.api.name, route.version, len(frame) if stable else 0
        )

    def handle(
        self, route: Route, correlation: int, request: Any, context: RequestContext
    ) -> Answer | Pending[Answer]:
        """Hand a decoded request to its handler."""
        try:
            response = route.api.handle(request, context)
        except Exception as error:
            response = self.refused(route, request, error, context)
        if response is None:
            return None
        if type(response) is Pending:
            return self._when_done(route, correlation, request, context, response)
        if type(response) is _COROUTINE:
            return self._in_task(route, correlation, request, context, response)
        try:
            return self.encoded(route, correlation, response)
        except Exception as error:
            return self.instead(route, correlation, request, error, context)

    # -- the ways to an answer

    def _when_done(
        self, route: Route, correlation: int, request: Any, context: RequestContext, response: Pending[Any]
    ) -> Answer | Pending[Answer]:
        answer: Pending[Answer] = Pending()

        def done(response: Pending[Any]) -> None:
            try:
                value = response.result()
            except Exception as error:
                self._give_refusal(answer, route, correlation, request, error, context)
            else:
                self._give(answer, route, correlation, request, value, context)

        response.then(done)
        answer.on_abandon = response.abandon
        return answer.result() if answer.done else answer

    def _in_task(
        self,
        route: Route,
        correlation: int,
        request: Any,
        context: RequestContext,
        response: Coroutine[Any, Any, Any],
    ) -> Pending[Answer]:
        answer: Pending[Answer] = Pending()

        async def run() -> None:
            try:
                value = await response
                if type(value) is LargeAnswer:
                    asked = Asked(route, correlation, request, context)
                    answer.resolve(await self._turns.made(asked, value, answer))
                    return
            except Exception as error:
                self._give_refusal(answer, route, correlation, request, error, context)
            else:
                self._give(answer, route, correlation, request, value, context)

        self._broker.spawn(run())
        return answer

    def _give(
        self,
        answer: Pending[Answer],
        route: Route,
        correlation: int,
        request: Any,
        response: Any,
        context: RequestContext,
    ) -> None:
        try:
            encoded = None if response is None else self.encoded(route, correlation, response)
        except Exception as error:
            try:
                encoded = self.instead(route, correlation, request, error, context)
            except Exception as failure:  # the connection is told, not whoever brought the response
                answer.fail(failure)
                return
        answer.resolve(encoded)

    def _give_refusal(
        self,
        answer: Pending[Answer],
        route: Route,
        correlation: int,
        request: Any,
        error: Exception,
        context: RequestContext,
    ) -> None:
        try:
            answer.resolve(self.encoded(route, correlation, self.refused(route, request, error, context)))
        except Exception as failure:  # Unanswerable: the connection is told, not whoever brought the error
            answer.fail(failure)

    def refused(self, route: Route, request: Any, error: Exception, context: RequestContext) -> Any:
        """The answer that tells of ``error``. :raises Unanswerable: it is one."""
        if isinstance(error, Unanswerable):
            raise error
        if not isinstance(error, KafkaError):
            context.client.crashed(route.api.name, error)
            error = UnknownServerError(f"the gateway failed at this request: {error!r}")
        context.failed(error)
        return route.api.refuse(request, error, context)

    def instead(
        self, route: Route, correlation: int, request: Any, error: Exception, context: RequestContext
    ) -> bytes | list[Buffer]:
        """What is answered where the handler's response cannot be encoded: a fault of the gateway."""
        context.client.crashed(route.api.name, error)
        failure = UnknownServerError(f"the gateway's answer could not be written: {error}")
        return self.encoded(route, correlation, self.refused(route, request, failure, context))

    @staticmethod
    def encoded(route: Route, correlation: int, response: Any) -> bytes | list[Buffer]:
        """The frame of an answer, with its length. :raises MalformedMessage: it cannot be written."""
        parts: list[Buffer] = [b""]
        route.encode(response, parts.append)
        size = sum(map(len, parts))
        if route.flexible_response:
            parts[0] = _FLEXIBLE.pack(size + 5, correlation, 0)
        else:
            parts[0] = _PLAIN.pack(size + 4, correlation)
        if size <= JOINED:
            return b"".join(parts)
        return _gathered(parts)

    # -- routes

    def _find_route(self, key: int, version: int, correlation: int) -> Route | bytes:
        api = self._apis.get(key)
        if api is None:
            known = index.APIS.get(key)
            raise Unanswerable(
                f"API {key} ({known.name}) is not served" if known else f"there is no API {key}"
            )
        first, last = api.versions
        if not first <= version <= last:
            if key == API_VERSIONS:
                return self._version_hint(api, correlation)
            raise Unanswerable(f"{api.name} v{version} is not served, v{first} to v{last} are")
        route = self._routes[key << 16 | version] = Route(api, version)
        return route

    def _version_hint(self, api: Api, correlation: int) -> bytes:
        """An ApiVersions newer than ours: v0 with the error and the versions to ask in (KIP-511)."""
        from kgw_core.api.api_versions import unsupported

        answer = self.encoded(Route(api, 0), correlation, unsupported(api))
        return answer if isinstance(answer, bytes) else b"".join(answer)


def _gathered(parts: list[Buffer]) -> list[Buffer]:
    """Large parts as they are, runs of small ones joined."""
    gathered: list[Buffer] = []
    small: list[Buffer] = []
    for part in parts:
        if len(part) < JOINED:
            small.append(part)
            continue
        if small:
            gathered.append(b"".join(small))
            small.clear()
        gathered.append(part)
    if small:
        gathered.append(b"".join(small))
    return gathered
