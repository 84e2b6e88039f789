"""A Fetch of a session: reads only logs that have changed, and answers only changes."""

from __future__ import annotations

from collections.abc import Iterable

from kgw_core.api.fetch_reading import PARTS, Fetch
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidFetchSessionEpoch
from kgw_core.fetching.sessions import FetchSession, Part
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
)


class IncrementalFetch(Fetch):
    """Answers the partitions of a session that have changed. Partitions with records are read last next
    time."""

    __slots__ = ("_epoch", "_session")

    def __init__(self, request: FetchRequest, context: RequestContext, session: FetchSession) -> None:
        super().__init__(request, context)
        self._session = session
        self._many = len(session.parts) > PARTS
        self._epoch = session.epoch

    def _order(self) -> Iterable[Part]:
        return self._session.parts.values()

    def _response(self) -> FetchResponse:
        session = self._session
        if session.epoch != self._epoch:
            error = InvalidFetchSessionEpoch(f"fetch session {session.id} went on while this fetch waited")
            return FetchResponse(0, self._context.failed(error), session.id)
        endpoints = self._endpoints()
        topics: list[FetchableTopicResponse] = []
        topic: str | bytes | None = None
        for part, answer in zip(self._looked, self._answers, strict=True):
            if part.is_news(answer):
                if part.topic != topic:
                    topic = part.topic
                    if isinstance(topic, str):
                        topics.append(FetchableTopicResponse(topic, ZERO_UUID, []))
                    else:
                        topics.append(FetchableTopicResponse("", topic, []))
                topics[-1].partitions.append(answer)
                if answer.records:
                    session.move_to_end(part)
            part.sent(answer)
        return FetchResponse(0, 0, session.id, topics, endpoints)
