"""Fetch: batches from some partitions, waiting for more where there is too little.

Behaviour:
- Whole batches only. The response's and each partition's max_bytes hold, but the first batch of the first
  partition that has any is given even where it is larger (KIP-74).
- Which partition is read first rotates from one fetch of a connection to the next, so that a small max_bytes
  starves none; the answer keeps the request's order.
- Less than min_bytes, no error and max_wait left: the answer waits for appends to the partitions.
- No fetch sessions: every answer has session id 0, which tells clients to send full fetches (KIP-227).

Versions: v4 is the first with v2 batches, isolation level · v5 log start offset · v9 leader epoch ·
v11 rack · v12 flexible, diverging epochs (none here) · v13 topics by id · v15 replica state · v16 endpoints.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import (
    FetchSessionIdNotFound,
    KafkaError,
    UnknownServerError,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from kgw_core.log.partition import PartitionLog
from kgw_core.log.waiting import WaitingFetch
from kgw_core.pending import Pending
from kgw_core.spi.storage import Run
from kgw_core.wire import Buffer
from kgw_core.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)

BY_ID = 13
READ_COMMITTED = 1
FULL_FETCH = (-1, 0)


def handle(
    request: FetchRequest, context: RequestContext
) -> FetchResponse | Pending[FetchResponse] | Coroutine[Any, Any, FetchResponse]:
    """Read now where the store is immediate, wait where there is too little; else as a coroutine."""
    if request.session_id != 0 or request.session_epoch not in FULL_FETCH:
        raise FetchSessionIdNotFound(f"there is no fetch session {request.session_id}")
    fetch = Fetch(request, context)
    if not context.broker.logs.immediate or not all(part.log.ready for part in fetch.parts if part.log):
        return fetch.run()
    response = fetch.read_now()
    if fetch.satisfied:
        return response
    pending: Pending[FetchResponse] = Pending()

    def complete() -> None:
        try:
            pending.resolve(fetch.read_now())
        except Exception as error:
            pending.fail(error)

    waiting = fetch.wait(complete)
    pending.on_abandon = waiting.leave
    return pending


class Part:
    """One partition of a fetch: what was asked, its log if there is one, and the answer as it stands."""

    __slots__ = ("answer", "asked", "log", "name")

    def __init__(self, asked: FetchPartition, name: str, log: PartitionLog | None) -> None:
        self.asked = asked
        self.name = name
        self.log = log
        self.answer = PartitionData(asked.partition, 0, -1, records=b"")


class Fetch:
    """One Fetch request at work. ``satisfied``: the last read brought enough, or an error."""

    __slots__ = ("_context", "_request", "_response", "parts", "satisfied")

    def __init__(self, request: FetchRequest, context: RequestContext) -> None:
        self._request = request
        self._context = context
        self.satisfied = False
        self.parts: list[Part] = []
        topics = []
        for topic in request.topics:
            parts = [self._part(topic, asked) for asked in topic.partitions]
            self.parts += parts
            topics.append(
                FetchableTopicResponse(topic.topic, topic.topic_id, [part.answer for part in parts])
            )
        self._response = FetchResponse(responses=topics)

    def _part(self, topic: FetchTopic, asked: FetchPartition) -> Part:
        catalog = self._context.broker.catalog
        error: KafkaError
        if self._context.version >= BY_ID:
            state = catalog.by_id.get(topic.topic_id)
            error = UnknownTopicId(f"there is no topic with id {topic.topic_id.hex()}")
        else:
            state = catalog.by_name.get(topic.topic)
            error = UnknownTopicOrPartition(f"there is no topic '{topic.topic}'")
        if state is not None:
            if 0 <= asked.partition < len(state.partitions):
                return Part(asked, state.name, state.partitions[asked.partition])
            error = UnknownTopicOrPartition(f"{state.name} has {len(state.partitions)} partitions")
        part = Part(asked, topic.topic or topic.topic_id.hex(), None)
        self._fail(part, error)
        return part

    # -- reading

    def read_now(self) -> FetchResponse:
        """Read every partition from an immediate store into the response."""
        left = self._begin()
        total = 0
        for part in self._rotated():
            log = part.log
            if log is None:
                continue
            asked = part.asked
            try:
                if asked.current_leader_epoch >= 0:
                    log.check_epoch(asked.current_leader_epoch)
                runs = log.read_now(asked.fetch_offset, max(min(left, asked.partition_max_bytes), 0))
            except Exception as error:
                self._fail(part, error)
                continue
            total += self._fill(part, log, runs, left if total else None)
            left = self._budget() - total
        return self._finished(total)

    async def run(self) -> FetchResponse:
        """The same for any store, with the wait for more."""
        response = await self._read()
        if not self.satisfied:
            more: Pending[None] = Pending()
            waiting = self.wait(lambda: more.resolve(None))
            try:
                await more.wait()
            finally:
                waiting.leave()
            response = await self._read()
        return response

    async def _read(self) -> FetchResponse:
        left = self._begin()
        total = 0
        for part in self._rotated():
            log = part.log
            if log is None:
                continue
            asked = part.asked
            try:
                await log.open()
                log.check_epoch(asked.current_leader_epoch)
                runs = await log.read(asked.fetch_offset, max(min(left, asked.partition_max_bytes), 0))
            except Exception as error:
                self._fail(part, error)
                continue
            total += self._fill(part, log, runs, left if total else None)
            left = self._budget() - total
        return self._finished(total)

    def _budget(self) -> int:
        return min(self._request.max_bytes, self._context.broker.config.limits.fetch_max_bytes)

    def _begin(self) -> int:
        self.satisfied = False
        return self._budget()

    def _rotated(self) -> Sequence[Part]:
        parts = self.parts
        if len(parts) < 2:
            return parts
        first = self._context.client.fetch_turn % len(parts)
        return parts[first:] + parts[:first]

    def _fill(self, part: Part, log: PartitionLog, runs: Sequence[Run], left: int | None) -> int:
        """Put what was read into the answer; return its bytes. ``left`` is None while nothing was read."""
        answer = part.answer
        answer.error_code = 0
        answer.high_watermark = log.high_watermark
        answer.last_stable_offset = log.last_stable_offset
        answer.log_start_offset = log.start
        if self._request.isolation_level != READ_COMMITTED:
            answer.aborted_transactions = None
        data: list[Buffer] = [run.data for run in runs]
        size = sum(map(len, data))
        if left is not None and size > left:
            data, size = [], 0  # only the first may be larger than what is left
        answer.records = data if data else b""
        return size

    def _finished(self, total: int) -> FetchResponse:
        request = self._request
        if (
            total >= request.min_bytes
            or request.max_wait_ms <= 0
            or self._context.broker.draining
            or any(part.answer.error_code for part in self.parts)
        ):
            self.satisfied = True
        self._context.client.fetch_turn += 1
        return self._response

    def _fail(self, part: Part, error: Exception) -> None:
        if not isinstance(error, KafkaError):
            self._context.client.crashed("Fetch", error)
            error = UnknownServerError(f"the gateway failed at this partition: {error!r}")
        code = self._context.failed(error, f"{part.name}-{part.asked.partition}")
        answer = part.answer
        answer.error_code = code
        answer.high_watermark = answer.last_stable_offset = answer.log_start_offset = -1
        answer.records = b""

    # -- waiting

    def wait(self, complete: Any) -> WaitingFetch:
        """Call ``complete()`` when there is enough, or the client's max_wait is over."""
        request, logs = self._request, self._context.broker.logs
        found = sum(_size(part.answer.records) for part in self.parts)
        return WaitingFetch(
            [part.log for part in self.parts if part.log is not None],
            max(request.min_bytes - found, 1),
            request.max_wait_ms / 1000,
            complete,
            logs.clock,
            logs.wakes,
        )


def _size(records: Any) -> int:
    return sum(map(len, records)) if type(records) is list else len(records or b"")


def refuse(request: FetchRequest, error: KafkaError, context: RequestContext) -> FetchResponse:
    """``error`` for the whole from v7 on, before that for each partition."""
    if context.version >= 7:
        return FetchResponse(error_code=error.code)
    return FetchResponse(
        responses=[
            FetchableTopicResponse(
                topic.topic,
                topic.topic_id,
                [PartitionData(asked.partition, error.code, -1, records=b"") for asked in topic.partitions],
            )
            for topic in request.topics
        ]
    )


API = Api("Fetch", (4, 18), handle, refuse)
