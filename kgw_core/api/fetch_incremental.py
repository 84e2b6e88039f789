"""A Fetch of a session: reads only logs that have changed, and answers only changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from kgw_core.api.fetch_reading import PARTS, Fetch
from kgw_core.api.large import STEP
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidFetchSessionEpoch
from kgw_core.fetching.part import Part
from kgw_core.fetching.sessions import FetchSession
from kgw_core.log.partition import PartitionLog
from kgw_core.log.waiting import WaitingFetch
from kgw_core.steps import in_pieces
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    PartitionData,
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
        session = self._session
        return len(session.parts if session.changed is None else session.changed.parts) > PARTS

    def _begin(self) -> Collection[Part]:
        order = super()._begin()
        session = self._session
        if session.changed is None:
            self._put_aside = None
            return order
        self._put_aside = session.changed.put_aside
        self._readable = len(order) < len(session.parts)
        return list(order)

    def _order(self) -> Collection[Part]:
        session = self._session
        return session.parts.values() if session.changed is None else session.changed.parts

    def _wait(self, complete: Callable[[], object], logs: Collection[PartitionLog]) -> WaitingFetch:
        waiting = super()._wait(complete, logs)
        if self._session.changed is not None:
            self._session.changed.fetch = waiting
        return waiting

    async def _response_in_steps(self) -> FetchResponse:
        if len(self._looked) <= PARTS:
            return self._response()
        if self._session.epoch != self._epoch:
            return self._refused()
        topics: list[FetchableTopicResponse] = []
        pairs = zip(self._looked, self._answers, strict=True)
        await in_pieces(pairs, STEP, lambda piece: self._add(piece, topics))
        return FetchResponse(0, 0, self._session.id, topics, self._endpoints())

    def _response(self) -> FetchResponse:
        if self._session.epoch != self._epoch:
            return self._refused()
        topics: list[FetchableTopicResponse] = []
        self._add(zip(self._looked, self._answers, strict=True), topics)
        return FetchResponse(0, 0, self._session.id, topics, self._endpoints())

    def _refused(self) -> FetchResponse:
        """The client has sent another fetch of the session meanwhile."""
        id = self._session.id
        error = InvalidFetchSessionEpoch(f"fetch session {id} went on while this fetch waited")
        return FetchResponse(0, self._context.failed(error), id)

    def _add(
        self, answers: Iterable[tuple[Part, PartitionData]], topics: list[FetchableTopicResponse]
    ) -> None:
        """Add the answers with changes to ``topics``. The client knows them from now on."""
        session, put_aside = self._session, self._put_aside
        for part, answer in answers:
            if part.is_news(answer):
                topic = part.topic
                if isinstance(topic, str):
                    if not topics or topics[-1].topic != topic:
                        topics.append(FetchableTopicResponse(topic, ZERO_UUID, []))
                elif not topics or topics[-1].topic_id != topic:
                    topics.append(FetchableTopicResponse("", topic, []))
                topics[-1].partitions.append(answer)
                if answer.records:
                    session.move_to_end(part)
            part.sent(answer)
            if put_aside is not None and part.is_idle():
                put_aside(part)
