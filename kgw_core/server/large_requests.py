"""Requests of many entries: decoded one at a time and in steps, so that the event loop serves others.

It takes a quarter of a second to decode a request of 100,000 entries, and many clients may send one. Such a
request waits for its turn, is decoded in steps with a limit of entries, and its answer is encoded in a
thread. A large frame of few entries is handled at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from typing import Any, Final, TypeAlias

import anyio
import anyio.lowlevel

from kgw_core import workers
from kgw_core.api.large import LargeAnswer
from kgw_core.broker import Broker
from kgw_core.errors import InvalidRequest, Unanswerable
from kgw_core.events import Client
from kgw_core.pending import Exclusive, Pending
from kgw_core.server.handling import Handling
from kgw_core.server.large_answers import LargeAnswers
from kgw_core.server.responses import Answer, Responses
from kgw_core.server.routes import Request, Route
from kgw_core.wire import MalformedMessage
from kgw_core.wire.failures import TooMany

LARGE: Final = 16 << 10
"""The entries of a frame with more bytes are counted."""
HEAVY: Final = 1000
"""The answer to a request with more entries is encoded in a thread."""
_PRODUCE = 0


Steps: TypeAlias = Generator[None, None, tuple[Any, int]]
"""Decoding a request. It returns the request and the number of entries in its arrays."""


class LargeRequests:
    """The large requests of a gateway."""

    def __init__(self, broker: Broker, responses: Responses, large: LargeAnswers, handling: Handling) -> None:
        self._broker = broker
        self._responses = responses
        self._large = large
        self._handling = handling
        self._turn = anyio.Lock()

    def start(
        self, route: Route, correlation: int, frame: memoryview, client: Client, stable: bool
    ) -> Answer | Pending[Answer]:
        """Begin with the request in ``frame``: at once if it has few entries, else in its turn.

        :raises Unanswerable: as :meth:`Dispatcher.start`; also if the request has too many entries and its
            response has no error about the whole request.
        """
        request = Request(self._broker, client, route, correlation, None, len(frame) if stable else 0)
        steps: Steps = self._read_in_steps(route, frame, client)
        try:
            next(steps)
        except InvalidRequest as error:
            return self._responses.refused_unread(request, error)
        except StopIteration as end:
            request.body, entries = end.value
            if entries <= HEAVY:
                request.entries = max(entries, 1)
                return self._handling.handle(request)
            steps = _decoded(request.body, entries)
        else:
            if not stable:  # the bytes are gone when this call returns
                frame = memoryview(bytearray(frame))
                steps = self._read_in_steps(route, frame, client)
        request.own_bytes = len(frame)
        # Later requests of the connection must not overtake a Produce that is not appended yet.
        answer: Pending[Answer] = Exclusive() if route.api.key == _PRODUCE else Pending()
        gone: list[bool] = []
        answer.on_abandon = lambda: gone.append(True)
        self._broker.spawn(self._run(request, steps, answer, gone))
        return answer

    def _read_in_steps(self, route: Route, frame: memoryview, client: Client) -> Steps:
        """Decode the request in a frame of any size; others are served at each yield.

        :raises Unanswerable: the bytes are no request.
        :raises InvalidRequest: the request has more entries than limits.max_request_entries.
        """
        most = self._broker.config.limits.most_entries
        try:
            at = route.read_header(frame, client, most)
            body, _, left = yield from route.decode_in_steps(frame, at, most)
        except MalformedMessage as error:
            name = f"{route.api.name} v{route.version}"
            if isinstance(error.__cause__, TooMany):
                found = f"{name} with more than {most} entries"
                raise InvalidRequest(f"{found} (limits.max_request_entries)") from None
            raise Unanswerable(f"{name}: {error}") from None
        return body, most - left

    async def _run(self, request: Request, steps: Steps, answer: Pending[Answer], gone: list[bool]) -> None:
        try:
            response, failure = None, None
            async with self._turn:
                try:
                    decoded = await _in_turns(steps, gone)
                except InvalidRequest as error:  # it has too many entries
                    answer.resolve(self._responses.refused_unread(request, error))
                    return
                if decoded is None:
                    return
                request.body, request.entries = decoded
                try:
                    response = request.route.api.handle(request.body, request)
                except Exception as error:
                    failure = error
            if isinstance(response, Pending):
                answer.on_abandon = response.abandon
            answer.resolve(await self._encoded(request, response, failure, answer))
        except Exception as error:  # Unanswerable, or a refusal that fails itself: the connection gets it
            answer.fail(error)

    async def _encoded(
        self, request: Request, response: Any, failure: Exception | None, answer: Pending[Answer]
    ) -> Answer:
        if failure is None:
            try:
                if isinstance(response, Pending):
                    response = await response.wait()
                elif inspect.iscoroutine(response):
                    response = await response
                    if type(response) is LargeAnswer:
                        return await self._large.made(request, response, answer)
            except Exception as error:
                failure = error
        responses, route, heavy = self._responses, request.route, request.entries > HEAVY
        if failure is not None:
            client_error = responses.client_error(request, failure)
            if heavy:
                response = await workers.in_thread(route.api.refuse, request.body, client_error, request)
            else:
                response = route.api.refuse(request.body, client_error, request)
        if response is None:
            return None
        if heavy:
            return await self._large.encoded(request, response)
        try:
            return responses.encoded(route, request.correlation, response)
        except Exception as error:
            return responses.fallback(request, error)


def _decoded(body: Any, entries: int) -> Steps:
    """No steps: the request is decoded already."""
    yield from ()
    return body, entries


async def _in_turns(steps: Steps, gone: list[bool]) -> tuple[Any, int] | None:
    """The result of the steps; others are served between them. None if the client disconnects meanwhile."""
    while True:
        await anyio.lowlevel.checkpoint()
        if gone:
            steps.close()
            return None
        try:
            next(steps)
        except StopIteration as end:
            decoded: tuple[Any, int] = end.value
            return decoded
