"""A Fetch of a session: reads only logs that have changed, and answers only changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator

from kgw_core.api.fetch_reading import PARTS, Fetch
from kgw_core.api.large import STEP
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidFetchSessionEpoch
from kgw_core.fetching.part import Part
from kgw_core.fetching.sessions import FetchSession
from kgw_core.log.partition import PartitionLog
from kgw_core.log.waiting import WaitingFetch
from kgw_core.steps import at_once, taking_turns
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
        self._epoch = session.epoch

    @property
    def _many(self) -> bool:
        return len(self._session.to_read) > PARTS

    def _begin(self) -> Collection[Part]:
        order = super()._begin()
        session = self._session
        self._readable = len(order) < len(session.parts)
        if session.changed is None:
            self._put_aside = None
            return order
        self._put_aside = session.changed.put_aside
        return list(order)

    def _order(self) -> Collection[Part]:
        return self._session.to_read

    def _wait(self, complete: Callable[[], object], logs: Collection[PartitionLog]) -> WaitingFetch:
        waiting = super()._wait(complete, logs)
        if self._session.changed is not None:
            self._session.changed.fetch = waiting
        return waiting

    async def _response_in_steps(self) -> FetchResponse:
        if len(self._looked) > PARTS:
            return await taking_turns(self._answer(), STEP)
        return self._response()

    def _response(self) -> FetchResponse:
        return at_once(self._answer())

    def _answer(self) -> Generator[None, None, FetchResponse]:
        session = self._session
        if session.epoch != self._epoch:
            error = InvalidFetchSessionEpoch(f"fetch session {session.id} went on while this fetch waited")
            return FetchResponse(0, self._context.failed(error), session.id)
        endpoints = self._endpoints()
        topics: list[FetchableTopicResponse] = []
        topic: str | bytes | None = None
        put_aside = self._put_aside
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
            if put_aside is not None and part.is_idle():
                put_aside(part)
            yield
        return FetchResponse(0, 0, session.id, topics, endpoints)
