"""From a frame to its answer: reads the header, finds the handler of (API, version), decodes, encodes.

The only place where an exception becomes a response.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from types import CoroutineType
from typing import Any, TypeAlias

from kgw_core.api.large import LargeAnswer
from kgw_core.api.produce_oversized import beginning as beginning_of_produce
from kgw_core.api.registry import Api
from kgw_core.broker import Broker, RequestContext
from kgw_core.errors import InvalidRequest, KafkaError, MessageTooLarge, Unanswerable, UnknownServerError
from kgw_core.events import Client
from kgw_core.pending import Few, Pending
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
from kgw_core.wire.plan import has_version

logger = logging.getLogger(__name__)

Answer: TypeAlias = bytes | list[Buffer] | None
"""A frame to be sent, whole or in parts; None: the client expects nothing."""

PRODUCE, API_VERSIONS = 0, 18
JOINED = 16 << 10
"""Up to this many bytes an answer is one piece; above it, large parts leave without being copied."""

LARGEST = 2**31 - 10
"""What a frame can say of its length, and something for a header."""

_COROUTINE = CoroutineType
_HEAD = struct.Struct(">hhih")
_ID_LENGTH = struct.Struct(">h")
_KEY = struct.Struct(">hhi")
_PLAIN = struct.Struct(">ii")
_FLEXIBLE = struct.Struct(">iiB")


class TooLarge(InvalidRequest):
    """An answer is larger than answers may be."""


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
        self._largest = min(broker.config.limits.max_total_queued_bytes, LARGEST)
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

    def _read_header(self, route: Route, frame: memoryview, client: Client) -> int:
        """Where the body begins. :raises MalformedMessage: the header is none."""
        if len(frame) < _HEAD.size:
            raise MalformedMessage("RequestHeader: it is not whole")
        id_length: int = _ID_LENGTH.unpack_from(frame, _HEAD.size - _ID_LENGTH.size)[0]
        at = _HEAD.size + max(id_length, 0)
        if route.flexible_request and (at >= len(frame) or frame[at] != 0):
            most = self._broker.config.limits.most_entries
            header, at, _ = at_once(stepwise_decoder(RequestHeader, 2)(frame, 0, most))
            client.client_id = header.client_id
            return at
        if at > len(frame):
            raise MalformedMessage(f"RequestHeader: client id of {id_length} bytes runs over")
        if client.client_id is None and id_length >= 0:
            client.client_id = str(frame[_HEAD.size : at], "utf-8", "replace")
        return at + route.flexible_request

    def read_in_steps(self, route: Route, frame: memoryview, client: Client) -> Steps:
        """The request in a frame of any size, and how many entries its arrays have; others may have their
        turn at each yield.

        :raises Unanswerable: it is none.
        :raises InvalidRequest: it has more than limits.max_request_entries.
        """
        most = self._broker.config.limits.most_entries
        if route.decode_in_steps is None:
            definition = index.APIS[route.api.key]
            route.decode_in_steps = stepwise_decoder(message(definition.request), route.version)
        try:
            at = self._read_header(route, frame, client)
            request, _, left = yield from route.decode_in_steps(frame, at, most)
        except MalformedMessage as error:
            if isinstance(error.__cause__, TooMany):
                told = f"{route.api.name} v{route.version} with more than {most} entries"
                raise InvalidRequest(f"{told} (limits.max_request_entries)") from None
            raise Unanswerable(f"{route.api.name} v{route.version}: {error}") from None
        return request, most - left

    def refused_unread(
        self, route: Route, correlation: int, error: KafkaError, context: RequestContext
    ) -> bytes | list[Buffer]:
        """The answer to a request of which nothing but its header is known.

        :raises Unanswerable: an answer of this version tells of errors beside its entries only.
        """
        definition = index.APIS[route.api.key]
        response = self.refused(route, message(definition.request)(), error, context)
        if not _tells(response, route.version):
            raise Unanswerable(str(error))
        return self.encoded(route, correlation, response)

    def refused_oversized(
        self, beginning: memoryview, told: str, client: Client, more: bool
    ) -> bytes | list[Buffer] | None:
        """The answer to a request of which only the beginning is kept; None where ``more`` of that may come,
        and is needed.

        :raises Unanswerable: it is no request, or there is no answer that could tell.
        """
        key, version, correlation = _KEY.unpack_from(beginning)
        try:
            route = self._routes.get(key << 16 | version) or self._find_route(key, version, correlation)
        except Unanswerable as error:
            raise Unanswerable(f"{told}: {error}") from None
        if not isinstance(route, Route):
            return route
        context = RequestContext(self._broker, client, route.api.name, route.version)
        if key != PRODUCE:
            return self.refused_unread(route, correlation, InvalidRequest(told), context)
        try:
            at = self._read_header(route, beginning, client)
            request = beginning_of_produce(beginning, at, version)
        except MalformedMessage:
            request = None
        if request is not None:
            return self.encoded(
                route, correlation, self.refused(route, request, MessageTooLarge(told), context)
            )
        if more:
            return None
        raise Unanswerable(told)

    def context(self, route: Route, client: Client, frame: memoryview, stable: bool) -> RequestContext:
        """What the handler of a request gets beside it."""
        return RequestContext(
            self._broker, client, route.api.name, route.version, len(frame) if stable else 0
        )

    def handle(
        self, route: Route, correlation: int, request: Any, context: RequestContext, entries: int
    ) -> Answer | Pending[Answer]:
        """Hand a decoded request of few entries to its handler."""
        try:
            response = route.api.handle(request, context)
        except Exception as error:
            response = self.refused(route, request, error, context)
        if response is None:
            return None
        if type(response) is Pending:
            return self._when_done(route, correlation, request, context, response, partial(Few, entries))
        if type(response) is _COROUTINE:
            return self._in_task(route, correlation, request, context, response, partial(Few, entries))
        try:
            return self.encoded(route, correlation, response)
        except Exception as error:
            return self.instead(route, correlation, request, error, context)

    # -- the ways to an answer

    def _when_done(
        self,
        route: Route,
        correlation: int,
        request: Any,
        context: RequestContext,
        response: Pending[Any],
        kind: Callable[[], Pending[Answer]] = Pending,
    ) -> Answer | Pending[Answer]:
        answer = kind()

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
        kind: Callable[[], Pending[Answer]] = Pending,
    ) -> Pending[Answer]:
        answer = kind()

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
        return route.api.refuse(request, self.told(route, error, context), context)

    @staticmethod
    def told(route: Route, error: Exception, context: RequestContext) -> KafkaError:
        """What the client is told of an error, which is reported. :raises Unanswerable: it is one."""
        if isinstance(error, Unanswerable):
            raise error
        if not isinstance(error, KafkaError):
            context.client.crashed(route.api.name, error)
            error = UnknownServerError(f"the gateway failed at this request: {error!r}")
        context.failed(error)
        return error

    def instead(
        self, route: Route, correlation: int, request: Any, error: Exception, context: RequestContext
    ) -> bytes | list[Buffer]:
        """What is answered where the handler's response cannot be encoded."""
        response = route.api.refuse(request, self.told_instead(route, error, context), context)
        return self.encoded(route, correlation, response)

    def told_instead(self, route: Route, error: Exception, context: RequestContext) -> KafkaError:
        """What the client is told where a response cannot be encoded: the gateway's fault, if it is not too
        large."""
        if not isinstance(error, TooLarge):
            context.client.crashed(route.api.name, error)
            error = UnknownServerError(f"the gateway's answer could not be written: {error}")
        return self.told(route, error, context)

    def encoded(self, route: Route, correlation: int, response: Any) -> bytes | list[Buffer]:
        """The frame of an answer, with its length.

        :raises TooLarge: it is larger than answers may be.
        :raises MalformedMessage: it cannot be written.
        """
        parts: list[Buffer] = [b""]
        route.encode(response, parts.append)
        size = sum(map(len, parts))
        if size > self._largest:
            told = f"the answer would have {size} bytes; allowed are {self._largest}"
            raise TooLarge(f"{told} (limits.max_total_queued_bytes): ask for less at once")
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


def _tells(response: Message, version: int) -> bool:
    """Whether an answer of this version says at its top that it is about an error."""
    cls = type(response)
    if not getattr(response, "error_code", 0):
        return False
    return has_version(cls.SCHEMA[cls.__slots__.index("error_code")].versions, version)


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
