"""Requests and answers of many entries: one at a time and in steps, so that others get turns between them.

A request of 100,000 entries takes a quarter of a second to decode, and many clients may send one. It waits
for its turn, is decoded in steps and with a limit of entries, and its answer is encoded in a thread. So are
answers of many entries to small requests (:mod:`kgw_core.api.large`). A large frame of few entries is handled
at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import anyio
import anyio.lowlevel

from kgw_core import workers
from kgw_core.api.large import LargeAnswer
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidRequest
from kgw_core.events import Client
from kgw_core.pending import Alone, Pending

if TYPE_CHECKING:
    from kgw_core.server.dispatch import Answer, Dispatcher, Route

LARGE: Final = 16 << 10
"""A frame of more bytes may have so many entries that they are counted."""
HEAVY: Final = 1000
"""The answer to a request of more entries is encoded in a thread."""
_PRODUCE = 0


Steps: TypeAlias = Generator[None, None, tuple[Any, int]]
"""Reading a request; what it gives is the request, and how many entries its arrays have."""


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
        """Begin with the request in ``frame``: at once where it has few entries, else in its turn.

        :raises Unanswerable: as :meth:`Dispatcher.start`, and where it has more entries than may be and
            its answer has no place for that.
        """
        dispatcher = self._dispatcher
        steps: Steps = dispatcher.read_in_steps(route, frame, client)
        try:
            next(steps)
        except InvalidRequest as error:
            context = dispatcher.context(route, client, frame, stable)
            return dispatcher.refused_unread(route, correlation, error, context)
        except StopIteration as end:
            request, entries = end.value
            if entries <= HEAVY:
                context = dispatcher.context(route, client, frame, stable)
                return dispatcher.handle(route, correlation, request, context, entries)
            steps = _read(request, entries)
        else:
            if not stable:  # the bytes are gone when this call returns
                frame = memoryview(bytearray(frame))
                steps = dispatcher.read_in_steps(route, frame, client)
        # Others of its connection must not overtake a Produce that is not appended yet.
        answer: Pending[Answer] = Alone() if route.api.key == _PRODUCE else Pending()
        gone: list[bool] = []
        answer.on_abandon = lambda: gone.append(True)
        context = dispatcher.context(route, client, frame, stable=True)
        spawn(self._run(Asked(route, correlation, None, context), steps, answer, gone))
        return answer

    async def _run(
        self,
        asked: Asked,
        steps: Steps,
        answer: Pending[Answer],
        gone: list[bool],
    ) -> None:
        dispatcher, route = self._dispatcher, asked.route
        try:
            async with self._turn:
                try:
                    read = await _in_turns(steps, gone)
                except InvalidRequest as error:  # it has too many entries
                    answer.resolve(dispatcher.refused_unread(route, asked.correlation, error, asked.context))
                    return
                if read is None:
                    return
                context = asked.context
                context.entries = read[1]
                asked = Asked(route, asked.correlation, read[0], context, read[1])
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
            told = dispatcher.told(route, failure, context)
            if entries > HEAVY:
                response = await workers.in_thread(route.api.refuse, request, told, context)
            else:
                response = route.api.refuse(request, told, context)
        if response is None:
            return None
        if entries > HEAVY:
            return await self._in_thread(asked, response)
        try:
            return dispatcher.encoded(route, correlation, response)
        except Exception as error:
            return dispatcher.instead(route, correlation, request, error, context)

    async def _in_thread(self, asked: Asked, response: Any) -> Answer:
        dispatcher, (route, correlation, request, context, _) = self._dispatcher, asked
        try:
            return await workers.in_thread(dispatcher.encoded, route, correlation, response)
        except Exception as error:
            told = dispatcher.told_instead(route, error, context)
            refusal = await workers.in_thread(route.api.refuse, request, told, context)
            return await workers.in_thread(dispatcher.encoded, route, correlation, refusal)


def _read(request: Any, entries: int) -> Steps:
    """No steps: it is read."""
    yield from ()
    return request, entries


async def _in_turns(steps: Steps, gone: list[bool]) -> tuple[Any, int] | None:
    """What the steps give, with turns for others between them; None where the client has gone meanwhile."""
    while True:
        await anyio.lowlevel.checkpoint()
        if gone:
            steps.close()
            return None
        try:
            next(steps)
        except StopIteration as end:
            read: tuple[Any, int] = end.value
            return read
