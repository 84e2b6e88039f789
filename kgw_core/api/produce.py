"""Produce: appends one record batch to each of some partitions.

Behaviour:
- Each partition succeeds or fails on its own. Except with acks=0, the answer waits for the store.
- A request with acks=0 is never answered. An error then closes the connection, the only sign for the client.
  Its client does not send the batch again, so later batches of its producer need not wait for it.
- Produce never creates topics; clients ask Metadata first.
- The answer has the log start offset also beside an error, if the log is known.

Versions: v0 to v2 carry message sets of formats v0 and v1, stored as v2 · v3 one v2 batch (KIP-98) · v5 log
start offset · v7 zstd (KIP-110) · v8 record errors (KIP-467) · v10 current leader (KIP-951) · v13 topics by
id (KIP-516).
"""

from __future__ import annotations

import math
from collections.abc import Coroutine
from typing import Any, TypeAlias

import anyio.lowlevel

from kgw_core.api.large import MANY
from kgw_core.api.partitions import find_log, leader_of
from kgw_core.api.produce_legacy import FIRST_V2, Refused, convert, convert_in_thread, is_large
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import (
    InvalidRequiredAcks,
    KafkaError,
    NotLeaderOrFollower,
    RequestTimedOut,
    Unanswerable,
    UnknownServerError,
    UnsupportedCompressionType,
)
from kgw_core.log.partition import PartitionLog
from kgw_core.log.producers import Appended
from kgw_core.log.validator import NamesRecords
from kgw_core.pending import Pending
from kgw_core.records.batch import ATTRIBUTES_AT, CODEC_MASK
from kgw_core.records.compression import Codec
from kgw_core.wire.messages.produce import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)

BY_ID = 13
ZSTD = 7
LEADERS = 10
APPENDS = 50
"""How many partitions of a large Produce are appended to before the event loop serves others."""
WAVE = 2000
"""How many partitions of a large Produce wait for the storage at a time."""
Waiting: TypeAlias = tuple[Pending[Appended], PartitionProduceResponse, PartitionLog]
_NO_RECORDS = memoryview(b"")
_NOTHING_REFUSED: Refused = {}


def handle(
    request: ProduceRequest, context: RequestContext
) -> ProduceResponse | Pending[ProduceResponse] | Coroutine[Any, Any, ProduceResponse | None] | None:
    """Append each partition's batch. The answer waits for the store."""
    if request.acks not in (-1, 0, 1):
        raise InvalidRequiredAcks(f"acks must be -1, 0 or 1, not {request.acks}")
    if context.version >= FIRST_V2:
        if context.entries > MANY:
            return _append_in_turns(request, context, _NOTHING_REFUSED)
        return _append(request, context, _NOTHING_REFUSED)
    if is_large(request):
        if not context.own_bytes:  # the frame's bytes are gone when this call returns
            for data in request.topic_data:
                for part in data.partition_data:
                    part.records = part.records and memoryview(bytearray(part.records))
        return _append_converted(request, context)
    return _append(request, context, convert(request, context.broker.config.limits.max_inflated_batch))


async def _append_converted(request: ProduceRequest, context: RequestContext) -> ProduceResponse | None:
    refused = await convert_in_thread(request, context.broker.config.limits.max_inflated_batch)
    return await _append_in_turns(request, context, refused)


async def _append_in_turns(
    request: ProduceRequest, context: RequestContext, refused: Refused
) -> ProduceResponse | None:
    """The same for very many partitions: in steps, and in waves, each of which is stored before the next
    begins. No later request of the connection starts before the answer.

    The client's timeout is for the whole request, and limits.append_timeout for each wave, as 100,000
    partitions are many commits also of a healthy storage. After an overdue wave none is awaited.
    """
    clock, most = context.broker.clock, context.broker.config.limits.append_timeout
    deadline = clock.monotonic() + _client_timeout(request)
    response = ProduceResponse([])
    waiting: list[Waiting] = []

    async def wait() -> ProduceResponse | None:
        nonlocal deadline, waiting
        seconds = max(min(deadline - clock.monotonic(), most), 0.001)
        wave = Stored(request, response, waiting, context, seconds)
        waiting = []
        whole = await wave.whole.wait()
        if wave.overdue:
            deadline = clock.monotonic()
        return whole

    count = 0
    for data in request.topic_data:
        topic = TopicProduceResponse(data.name, data.topic_id, [])
        if data.partition_data:
            response.responses.append(topic)
        for part in data.partition_data:
            topic.partition_responses.append(
                _append_part(data, part, context, refused, response, waiting, request.acks)
            )
            count += 1
            if len(waiting) >= WAVE:
                await wait()
            elif count % APPENDS == 0:
                await anyio.lowlevel.checkpoint()
    return await wait() if waiting else _complete(request, response)


def _append(
    request: ProduceRequest, context: RequestContext, refused: Refused
) -> ProduceResponse | Pending[ProduceResponse] | None:
    waiting: list[Waiting] = []
    topics: list[TopicProduceResponse] = []
    response = ProduceResponse(topics)
    for data in request.topic_data:
        partitions = [
            _append_part(data, part, context, refused, response, waiting, request.acks)
            for part in data.partition_data
        ]
        if partitions:
            topics.append(TopicProduceResponse(data.name, data.topic_id, partitions))
    if waiting:
        return Stored(request, response, waiting, context, _timeout(request, context)).whole
    return _complete(request, response)


def _append_part(
    data: TopicProduceData,
    part: PartitionProduceData,
    context: RequestContext,
    refused: Refused,
    response: ProduceResponse,
    waiting: list[Waiting],
    acks: int,
) -> PartitionProduceResponse:
    """Append to one partition. If the append waits, ``waiting`` gets it, and the answer is completed
    later."""
    answer = PartitionProduceResponse(part.index, 0, -1)
    log: PartitionLog | None = None
    try:
        log = find_log(context, data.name if context.version < BY_ID else data.topic_id, part.index)
        if refused and id(part) in refused:
            error = refused[id(part)]
            if error is not None:
                raise error
            return answer
        records = part.records
        if records is None:
            records = _NO_RECORDS
        elif (
            context.version < ZSTD
            and len(records) > ATTRIBUTES_AT + 1
            and records[ATTRIBUTES_AT + 1] & CODEC_MASK == Codec.ZSTD
        ):
            raise UnsupportedCompressionType(f"zstd needs Produce v{ZSTD}, this is v{context.version}")
        # A batch keeps the frame if it fills at least half of it.
        stable = 2 * len(records) >= context.own_bytes > 0
        outcome = log.append(records, stable)  # type: ignore[arg-type] # decoded as memoryview
    except Exception as error:
        topic = data.name if context.version < BY_ID else data.topic_id
        found = log
        if isinstance(error, NotLeaderOrFollower):
            log = log or context.broker.catalog.by_key[topic].partitions[part.index]
            topic = log.tp.topic_id.bytes
            _name_leader(answer, log, response, context)
        if part.records is not None:
            refusals = context.broker.logs.refused
            if not acks:
                if found is not None and refusals.active:
                    refusals.forget(found.tp, (part.records,))
            elif found is None:
                refusals.remember_absent(topic, part.index, (part.records,))
        _fail(answer, error, context, data, part.index, log)
        return answer
    if type(outcome) is Pending:
        waiting.append((outcome, answer, log))
    else:
        answer.base_offset, answer.log_append_time_ms = outcome  # type: ignore[misc] # Appended
        answer.log_start_offset = log.start
    return answer


def _complete(request: ProduceRequest, response: ProduceResponse) -> ProduceResponse | None:
    """The answer when all outcomes are known."""
    if request.acks:
        return response
    _check_unanswered(response)
    return None


def _timeout(request: ProduceRequest, context: RequestContext) -> float:
    """Seconds until the answer: the client's timeout, but at most limits.append_timeout."""
    return min(_client_timeout(request), context.broker.config.limits.append_timeout)


def _client_timeout(request: ProduceRequest) -> float:
    """The client's timeout in seconds. As in Kafka it counts only with acks=all, and 0 is none."""
    return request.timeout_ms / 1000 if request.acks == -1 and request.timeout_ms > 0 else math.inf


class Stored:
    """Kafka's DelayedProduce. ``whole`` is the answer when all of ``waiting`` are done, or after ``seconds``;
    then it is ``overdue``."""

    __slots__ = ("_context", "_open", "_request", "_response", "_seconds", "_timer", "overdue", "whole")

    def __init__(
        self,
        request: ProduceRequest,
        response: ProduceResponse,
        waiting: list[Waiting],
        context: RequestContext,
        seconds: float,
    ) -> None:
        self.overdue = False
        self._seconds = seconds
        self._request = request
        self._response = response
        self._context = context
        self._open = {id(answer): (answer, log) for _, answer, log in waiting}
        self.whole: Pending[ProduceResponse] = Pending()
        self._timer = context.broker.clock.call_later(seconds, self._timed_out)
        for pending, answer, log in waiting:
            pending.then(lambda done, answer=answer, log=log: self._stored(done, answer, log))  # type: ignore[misc]

    def _stored(
        self, pending: Pending[Appended], answer: PartitionProduceResponse, log: PartitionLog
    ) -> None:
        if self._open.pop(id(answer), None) is None:
            return
        try:
            answer.base_offset, answer.log_append_time_ms = pending.result()
            answer.log_start_offset = log.start
        except Exception as error:
            if isinstance(error, NotLeaderOrFollower):
                _name_leader(answer, log, self._response, self._context)
            _fail(answer, error, self._context, None, answer.index, log)
        if not self._open:
            self._finish()

    def _timed_out(self) -> None:
        self.overdue = True
        error = RequestTimedOut(f"the storage has not said within {self._seconds:g} s what came of it")
        for answer, log in self._open.values():
            answer.error_code = self._context.failed(error, str(log.tp))
            answer.error_message = str(error)
            if self._seconds == self._context.broker.config.limits.append_timeout:  # not the client's
                self._context.broker.logs.writers.overdue(log.tp, error)
        self._open.clear()
        self._finish()

    def _finish(self) -> None:
        self._timer.cancel()
        try:
            self.whole.resolve(_complete(self._request, self._response))  # type: ignore[arg-type] # or None
        except Unanswerable as error:
            self.whole.fail(error)


def _name_leader(
    answer: PartitionProduceResponse, log: PartitionLog, response: ProduceResponse, context: RequestContext
) -> None:
    """Another gateway leads the log: say which, and its address (KIP-951)."""
    if context.version < LEADERS:
        return
    placement = context.broker.placement
    answer.current_leader = LeaderIdAndEpoch(*leader_of(log, placement))
    leader = answer.current_leader.leader_id
    if all(endpoint.node_id != leader for endpoint in response.node_endpoints):
        nodes = [node for node in placement.nodes(context.client) if node.id == leader]
        response.node_endpoints += [NodeEndpoint(*node) for node in nodes]


def _fail(
    answer: PartitionProduceResponse,
    error: Exception,
    context: RequestContext,
    data: TopicProduceData | None,
    index: int,
    log: PartitionLog | None = None,
) -> None:
    if not isinstance(error, KafkaError):
        context.client.crashed(context.api, error)
        error = UnknownServerError(f"the gateway failed at this batch: {error!r}")
    where = str(log.tp) if log is not None else f"{data.name or data.topic_id.hex()}-{index}" if data else ""
    answer.error_code = context.failed(error, where)
    answer.error_message = str(error)
    if log is not None and log.ready:
        answer.log_start_offset = log.start
    if isinstance(error, NamesRecords):
        answer.record_errors = [BatchIndexAndErrorMessage(at, str(error)) for at in error.batch_indexes]


def _check_unanswered(response: ProduceResponse) -> None:
    """acks=0: there is no answer. :raises Unanswerable: there is an error, so the connection has to close."""
    for topic in response.responses:
        for answer in topic.partition_responses:
            if answer.error_code:
                raise Unanswerable(f"Produce with acks=0 failed: {answer.error_message}")


def refuse(request: ProduceRequest, error: KafkaError, context: RequestContext) -> ProduceResponse:
    """``error`` for every partition."""
    if request.acks == 0:
        raise Unanswerable(f"Produce with acks=0 failed: {error}")
    return ProduceResponse(
        [
            TopicProduceResponse(
                data.name,
                data.topic_id,
                [
                    PartitionProduceResponse(part.index, error.code, -1, error_message=str(error))
                    for part in data.partition_data
                ],
            )
            for data in request.topic_data
        ]
    )


API = Api("Produce", (0, 13), handle, refuse)
