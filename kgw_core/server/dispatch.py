"""From a frame to its answer: finds the route of its (API, version), decodes, and hands the request on."""

from __future__ import annotations

import logging
import struct
from collections.abc import Mapping

from kgw_core.api.registry import Api
from kgw_core.broker import Broker
from kgw_core.errors import InvalidRequest, Unanswerable
from kgw_core.events import Client
from kgw_core.pending import Pending
from kgw_core.server.followed_produce import FollowedProduce
from kgw_core.server.handling import Handling
from kgw_core.server.large_answers import LargeAnswers
from kgw_core.server.large_requests import LARGE, LargeRequests
from kgw_core.server.responses import Answer, Frame, Responses
from kgw_core.server.routes import HEAD, Request, Route
from kgw_core.wire import MalformedMessage, decoder, index
from kgw_core.wire.messages.request_header import RequestHeader

logger = logging.getLogger(__name__)

PRODUCE, API_VERSIONS = 0, 18

_KEY = struct.Struct(">hhi")


class Dispatcher:
    """Turns frames into answers for all connections of a gateway."""

    def __init__(self, broker: Broker, apis: Mapping[int, Api]) -> None:
        self._broker = broker
        self._apis = apis
        self._routes: dict[int, Route] = {}
        self._request_header = decoder(RequestHeader, 2)
        self._responses = Responses(broker.config.limits.max_total_queued_bytes)
        large_answers = LargeAnswers(self._responses)
        self._handling = Handling(self._responses, large_answers, broker.spawn)
        self._large_requests = LargeRequests(broker, self._responses, large_answers, self._handling)
        self._verbose = logger.isEnabledFor(logging.DEBUG)

    def start(self, frame: memoryview, client: Client, stable: bool) -> Answer | Pending[Answer]:
        """Begin with the request in ``frame``, which is without its length.

        ``stable``: the frame has memory of its own, so its bytes may be kept and written to.

        :raises Unanswerable: the frame has no header, the API or version is not served, or the body is
            malformed.
        """
        try:
            key, version, correlation, id_length = HEAD.unpack_from(frame)
        except struct.error:
            raise Unanswerable(f"a request of {len(frame)} bytes has no header") from None
        route = self._routes.get(key << 16 | version) or self._find_route(key, version, correlation)
        if type(route) is not Route:
            return route  # type: ignore[return-value] # an answer
        if len(frame) > LARGE:
            return self._large_requests.start(route, correlation, frame, client, stable)
        try:  # as Route.read_header does, which would cost each request a call
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
            body, end = route.decode(frame, at)
        except MalformedMessage as error:
            raise Unanswerable(f"{route.api.name} v{version}: {error}") from None
        if self._verbose:
            logger.debug("%s %s v%d #%d: %r", client, route.api.name, version, correlation, body)
            if end != len(frame):
                logger.debug("%s: %d bytes follow the request", client, len(frame) - end)
        own_bytes = len(frame) if stable else 0
        return self._handling.handle(Request(self._broker, client, route, correlation, body, own_bytes))

    def refused_oversized(
        self, beginning: memoryview, reason: str, client: Client, more: bool
    ) -> Answer | FollowedProduce:
        """The answer to a request that is too large and of which only the beginning is kept, or for a Produce
        what makes it; None if it needs ``more`` of the beginning, which may still come.

        :raises Unanswerable: the bytes are no request, or its response has no place for the error.
        """
        key, version, correlation = _KEY.unpack_from(beginning)
        try:
            route = self._routes.get(key << 16 | version) or self._find_route(key, version, correlation)
        except Unanswerable as error:
            raise Unanswerable(f"{reason}: {error}") from None
        if not isinstance(route, Route):
            return route
        request = Request(self._broker, client, route, correlation, None)
        if key != PRODUCE:
            return self._responses.refused_unread(request, InvalidRequest(reason))
        try:
            at = route.read_header(beginning, client, self._broker.config.limits.most_entries)
        except MalformedMessage:
            if more:
                return None
            raise Unanswerable(reason) from None
        followed = FollowedProduce(self._responses, request, reason)
        followed.feed(beginning[at:])
        return followed

    # -- routes

    def _find_route(self, key: int, version: int, correlation: int) -> Route | Frame:
        """The route, or the answer to an ApiVersions of a version that is not served."""
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

    def _version_hint(self, api: Api, correlation: int) -> Frame:
        """ApiVersions v0 with UNSUPPORTED_VERSION and the versions of ApiVersions (KIP-511)."""
        from kgw_core.api.api_versions import unsupported

        return self._responses.encoded(Route(api, 0), correlation, unsupported(api))
