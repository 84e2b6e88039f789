"""Answers of many entries to small requests: made one at a time, and encoded in a thread.

:mod:`kgw_core.api.large` says how a handler returns one.
"""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel

from kgw_core import workers
from kgw_core.api.large import LargeAnswer
from kgw_core.pending import Pending
from kgw_core.server.responses import Answer, Responses
from kgw_core.server.routes import Request


class LargeAnswers:
    """The large answers of a gateway."""

    def __init__(self, responses: Responses) -> None:
        self._responses = responses
        self._making = anyio.Lock()

    async def made(self, request: Request, large: LargeAnswer, answer: Pending[Answer]) -> Answer:
        """Make a large answer when its turn comes; None if the client has disconnected before.

        :raises Exception: from making it.
        """
        gone: list[bool] = []
        answer.on_abandon = lambda: gone.append(True)
        async with self._making:
            await anyio.lowlevel.checkpoint()
            if gone:
                return None
            return await self.encoded(request, await large.make())

    async def encoded(self, request: Request, response: Any) -> Answer:
        """Encode a response in a thread."""
        responses, route, correlation = self._responses, request.route, request.correlation
        try:
            return await workers.in_thread(responses.encoded, route, correlation, response)
        except Exception as error:
            client_error = responses.encoding_error(request, error)
            refusal = await workers.in_thread(route.api.refuse, request.body, client_error, request)
            return await workers.in_thread(responses.encoded, route, correlation, refusal)
