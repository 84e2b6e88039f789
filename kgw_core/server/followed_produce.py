"""Refuses all partitions of a Produce that is too large, in one answer."""

from __future__ import annotations

from kgw_core.api.produce_oversized import Walk
from kgw_core.errors import MessageTooLarge, Unanswerable
from kgw_core.server.responses import Frame, Responses
from kgw_core.server.routes import Request
from kgw_core.wire.failures import Bad


class FollowedProduce:
    """Takes the body of the request in pieces. ``reason`` is the message of the error."""

    __slots__ = ("_reason", "_request", "_responses", "_walk")

    def __init__(self, responses: Responses, request: Request, reason: str) -> None:
        self._responses = responses
        self._request = request
        self._reason = reason
        self._walk = Walk(request.version)

    def feed(self, data: memoryview) -> None:
        """Take the next bytes.

        :raises Unanswerable: they are no Produce, it has no partition or too many, or it has acks=0.
        """
        walk = self._walk
        try:
            walk.feed(data)
        except (Bad, ValueError) as error:
            raise Unanswerable(f"{self._reason}: {error}") from None
        if walk.whole and not walk.partitions:
            raise Unanswerable(f"{self._reason}: it has no partition")
        if walk.acks == 0:
            self._refuse()

    def answer(self) -> Frame:
        """The answer, once the frame is whole. :raises Unanswerable: the request ends too early."""
        if not self._walk.whole:
            raise Unanswerable(f"{self._reason}: it ends too early")
        return self._refuse()

    def _refuse(self) -> Frame:
        """:raises Unanswerable: acks=0."""
        request = self._request
        request.body = self._walk.request()
        response = self._responses.refusal(request, MessageTooLarge(self._reason))
        return self._responses.encoded(request.route, request.correlation, response)
