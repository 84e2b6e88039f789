"""From a decoded request to its answer: calls the handler, and waits for its result."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import Any

from kgw_core.api.large import LargeAnswer
from kgw_core.pending import Counted, Pending
from kgw_core.server.large_answers import LargeAnswers
from kgw_core.server.responses import Answer, Responses
from kgw_core.server.routes import Request

_COROUTINE = CoroutineType


class Handling:
    """Hands requests to their handlers. ``spawn`` starts the task of a handler that is a coroutine."""

    def __init__(
        self,
        responses: Responses,
        large: LargeAnswers,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._responses = responses
        self._large = large
        self._spawn = spawn

    def handle(self, request: Request) -> Answer | Pending[Answer]:
        """Hand a request to its handler.

        :raises Unanswerable: the request gets no answer.
        """
        route = request.route
        try:
            response = route.api.handle(request.body, request)
        except Exception as error:
            response = self._responses.refusal(request, error)
        if response is None:
            return None
        if type(response) is Pending:
            return self._when_done(request, response)
        if type(response) is _COROUTINE:
            return self._in_task(request, response)
        try:
            return self._responses.encoded(route, request.correlation, response)
        except Exception as error:
            return self._responses.fallback(request, error)

    def _when_done(self, request: Request, response: Pending[Any]) -> Answer | Pending[Answer]:
        answer = _new_answer(request)

        def done(response: Pending[Any]) -> None:
            try:
                value = response.result()
            except Exception as error:
                self._give_refusal(answer, request, error)
            else:
                self._give(answer, request, value)

        response.then(done)
        answer.on_abandon = response.abandon
        return answer.result() if answer.done else answer

    def _in_task(self, request: Request, response: Coroutine[Any, Any, Any]) -> Pending[Answer]:
        answer = _new_answer(request)

        async def run() -> None:
            try:
                value = await response
                if type(value) is LargeAnswer:
                    answer.resolve(await self._large.made(request, value, answer))
                    return
            except Exception as error:
                self._give_refusal(answer, request, error)
            else:
                self._give(answer, request, value)

        self._spawn(run())
        return answer

    def _give(self, answer: Pending[Answer], request: Request, response: Any) -> None:
        responses = self._responses
        try:
            encoded = (
                None if response is None else responses.encoded(request.route, request.correlation, response)
            )
        except Exception as error:
            try:
                encoded = responses.fallback(request, error)
            except Exception as failure:  # the connection gets it, not the code that resolved the response
                answer.fail(failure)
                return
        answer.resolve(encoded)

    def _give_refusal(self, answer: Pending[Answer], request: Request, error: Exception) -> None:
        responses = self._responses
        try:
            refusal = responses.refusal(request, error)
            answer.resolve(responses.encoded(request.route, request.correlation, refusal))
        except Exception as failure:  # Unanswerable: the connection gets it, not the code that raised it
            answer.fail(failure)


def _new_answer(request: Request) -> Pending[Answer]:
    return Counted(request.entries) if request.entries else Pending()
