"""A full Fetch: reads every partition of the request, and may begin a session."""

from __future__ import annotations

from collections.abc import Collection, Generator

from kgw_core.api.fetch_reading import BY_ID, PARTS, Fetch
from kgw_core.api.large import STEP
from kgw_core.broker import RequestContext
from kgw_core.fetching.part import Part
from kgw_core.fetching.sessions import NO_SESSION, Key
from kgw_core.steps import at_once, taking_turns
from kgw_core.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)


def _merge(request: FetchRequest, by_id: bool) -> None:
    """Keep each partition once, at its first position with its last values, and drop topics without
    partitions."""
    topics = request.topics
    if all(topic.partitions for topic in topics):
        seen = {
            (topic.topic_id if by_id else topic.topic, asked.partition)
            for topic in topics
            for asked in topic.partitions
        }
        if len(seen) == sum(len(topic.partitions) for topic in topics):
            return
    once = {
        (topic.topic_id if by_id else topic.topic, asked.partition): (topic, asked)
        for topic in topics
        for asked in topic.partitions
    }
    _regroup(request, by_id, once)


def _merge_in_steps(request: FetchRequest, by_id: bool) -> Generator[None, None, None]:
    """The same for very many partitions."""
    once: dict[Key, tuple[FetchTopic, FetchPartition]] = {}
    count = 0
    for topic in request.topics:
        key = topic.topic_id if by_id else topic.topic
        for asked in topic.partitions:
            once[key, asked.partition] = topic, asked
            count += 1
            yield
    if len(once) < count or not all(topic.partitions for topic in request.topics):
        _regroup(request, by_id, once)


def _regroup(request: FetchRequest, by_id: bool, once: dict[Key, tuple[FetchTopic, FetchPartition]]) -> None:
    merged: list[FetchTopic] = []
    for (key, _), (topic, asked) in once.items():
        last = merged[-1] if merged else None
        if last is None or key != (last.topic_id if by_id else last.topic):
            last = FetchTopic(topic.topic, topic.topic_id, [])
            merged.append(last)
        last.partitions.append(asked)
    request.topics = merged


class FullFetch(Fetch):
    """Answers all partitions of the request, in its order, and begins a session if ``begins``.

    A partition that occurs twice has one answer, for its last values.

    The first partition to read rotates between the full fetches of a connection, so that a small max_bytes
    starves none.
    """

    __slots__ = ("_begins", "_large", "_parts", "_session_parts", "_turn")

    def __init__(self, request: FetchRequest, context: RequestContext, *, begins: bool) -> None:
        super().__init__(request, context)
        self._begins = begins
        self._large = False
        by_id = context.version >= BY_ID
        self._parts: list[Part] = []
        self._session_parts: dict[Key, Part] | None = None
        if context.entries > PARTS:
            self._large = True  # _prepare() makes the parts
        else:
            if len(request.topics) != 1 or len(request.topics[0].partitions) != 1:
                _merge(request, by_id)
            self._parts = [
                Part(topic.topic_id if by_id else topic.topic, asked)
                for topic in request.topics
                for asked in topic.partitions
            ]
        self._turn = context.client.fetch_turn
        context.client.fetch_turn += 1

    @property
    def _many(self) -> bool:
        return self._large

    async def _prepare(self) -> None:
        if self._many:
            await taking_turns(self._parts_in_steps(), STEP)

    def _parts_in_steps(self) -> Generator[None, None, None]:
        by_id = self._context.version >= BY_ID
        yield from _merge_in_steps(self._request, by_id)
        for topic in self._request.topics:
            for asked in topic.partitions:
                self._parts.append(Part(topic.topic_id if by_id else topic.topic, asked))
                yield

    def _order(self) -> Collection[Part]:
        parts = self._parts
        if len(parts) < 2:
            return parts
        first = self._turn % len(parts)
        return parts[first:] + parts[:first]

    async def _response_in_steps(self) -> FetchResponse:
        if self._many and self._begins:
            self._session_parts = await taking_turns(self._told_parts(self._in_order()), STEP)
        return self._response()

    def _in_order(self) -> list[PartitionData]:
        """The answers in the order of the request."""
        answers = self._answers
        if len(answers) > 1:
            first = len(answers) - self._turn % len(answers)
            answers = answers[first:] + answers[:first]
        return answers

    def _response(self) -> FetchResponse:
        answers = self._in_order()
        topics: list[FetchableTopicResponse] = []
        at = 0
        for topic in self._request.topics:
            end = at + len(topic.partitions)
            topics.append(FetchableTopicResponse(topic.topic, topic.topic_id, answers[at:end]))
            at = end
        session = self._begin_session(answers) if self._begins else NO_SESSION
        return FetchResponse(0, 0, session, topics, self._endpoints())

    def _begin_session(self, answers: list[PartitionData]) -> int:
        broker = self._context.broker
        parts = self._session_parts
        if parts is None:
            parts = at_once(self._told_parts(answers))
        return broker.fetch_sessions.begin(self._context.version >= BY_ID, parts, broker.clock.monotonic())

    def _told_parts(self, answers: list[PartitionData]) -> Generator[None, None, dict[Key, Part]]:
        """The parts of a new session, which remember this answer."""
        parts: dict[Key, Part] = {}
        with_data: dict[Key, Part] = {}  # these had records, and are read last next time
        for part, answer in zip(self._parts, answers, strict=True):
            part.sent(answer)
            (with_data if answer.records else parts)[part.topic, part.asked.partition] = part
            yield
        parts |= with_data
        return parts
