"""Requests and answers of many entries: one at a time, so that other connections get turns between them.

A request of some ten thousand entries takes a tenth of a second of the event loop, and many clients may send
one. Each waits for its turn, is decoded with a limit of entries, and its answer is encoded in a thread. So
are answers of many entries to small requests (:mod:`kgw_core.api.large`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import anyio.lowlevel

from kgw_core import workers
from kgw_core.api.large import LargeAnswer
from kgw_core.broker import RequestContext
from kgw_core.events import Client
from kgw_core.pending import Pending

if TYPE_CHECKING:
    from kgw_core.server.dispatch import Answer, Dispatcher, Route

LARGE: Final = 16 << 10
"""A frame of more bytes may have so many entries that they are counted."""
HEAVY: Final = 1000
"""A request of more entries waits for its turn."""
_PRODUCE = 0


class Asked(NamedTuple):
    """A request that was read, and how many ``entries`` its arrays have."""

    route: Route
    correlation: int
    request: Any
    context: RequestContext
    entries: int = 0

    def handled(self) -> tuple[Any, Exception | None]:
        """What the handler returned, or what it raised."""
        try:
            return self.route.api.handle(self.request, self.context), None
        except Exception as error:
            return None, error


class Turns:
    """The large requests of a gateway."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._turn = anyio.Lock()
        self._making = anyio.Lock()

    def start(
        self,
        route: Route,
        correlation: int,
        frame: memoryview,
        client: Client,
        stable: bool,
        spawn: Callable[[Any], object],
    ) -> Answer | Pending[Answer]:
        """Begin with the request in ``frame``: at once with a Produce, which others that come after it may
        not overtake, and of which only the answer waits for its turn; else in its turn.

        :raises Unanswerable: as :meth:`Dispatcher.start`.
        """
        dispatcher = self._dispatcher
        if route.api.key == _PRODUCE:
            request, entries = dispatcher.read_counted(route, frame, client)
            context = dispatcher.context(route, client, frame, stable)
            if entries <= HEAVY:
                return dispatcher.handle(route, correlation, request, context)
            return self._at_once(Asked(route, correlation, request, context, entries), spawn)
        if not stable:  # the bytes are gone when this call returns
            frame = memoryview(bytearray(frame))
        answer: Pending[Answer] = Pending()
        gone: list[bool] = []
        answer.on_abandon = lambda: gone.append(True)
        spawn(self._run(route, correlation, frame, client, answer, gone))
        return answer

    def _at_once(self, asked: Asked, spawn: Callable[[Any], object]) -> Pending[Answer]:
        answer: Pending[Answer] = Pending()
        response, failure = asked.handled()
        if isinstance(response, Pending):
            answer.on_abandon = response.abandon

        async def finish() -> None:
            try:
                answer.resolve(await self._encoded(asked, response, failure, answer))
            except Exception as error:
                answer.fail(error)

        spawn(finish())
        return answer

    async def _run(
        self,
        route: Route,
        correlation: int,
        frame: memoryview,
        client: Client,
        answer: Pending[Answer],
        gone: list[bool],
    ) -> None:
        try:
            async with self._turn:
                await anyio.lowlevel.checkpoint()  # others run between two of them
                if gone:
                    return
                request, entries = self._dispatcher.read_counted(route, frame, client)
                context = self._dispatcher.context(route, client, frame, stable=True)
                asked = Asked(route, correlation, request, context, entries)
                response, failure = asked.handled()
            if isinstance(response, Pending):
                answer.on_abandon = response.abandon
            answer.resolve(await self._encoded(asked, response, failure, answer))
        except Exception as error:  # Unanswerable, or a refusal that fails itself: the connection is told
            answer.fail(error)

    async def made(self, asked: Asked, large: LargeAnswer, answer: Pending[Answer]) -> Answer:
        """A large answer, ready to leave; None if whoever waits for ``answer`` has gone before its turn.

        :raises Exception: what making it raised.
        """
        gone: list[bool] = []
        answer.on_abandon = lambda: gone.append(True)
        async with self._making:
            await anyio.lowlevel.checkpoint()
            if gone:
                return None
            return await self._in_thread(asked, await large.make())

    async def _encoded(
        self, asked: Asked, response: Any, failure: Exception | None, answer: Pending[Answer]
    ) -> Answer:
        if failure is None:
            try:
                if isinstance(response, Pending):
                    response = await response.wait()
                elif inspect.iscoroutine(response):
                    response = await response
                    if type(response) is LargeAnswer:
                        return await self.made(asked, response, answer)
            except Exception as error:
                failure = error
        dispatcher, (route, correlation, request, context, entries) = self._dispatcher, asked
        if failure is not None:
            response = dispatcher.refused(route, request, failure, context)
        if response is None:
            return None
        if entries > HEAVY:
            return await self._in_thread(asked, response)
        try:
            return dispatcher.encoded(route, correlation, response)
        except Exception as error:
            return dispatcher.instead(route, correlation, request, error, context)

    async def _in_thread(self, asked: Asked, response: Any) -> Answer:
        route, correlation, request, context, _ = asked
        try:
            return await workers.in_thread(self._dispatcher.encoded, route, correlation, response)
        except Exception as error:
            return self._dispatcher.instead(route, correlation, request, error, context)
