"""Produce: append one record batch to each of some partitions.

Behaviour:
- Each partition succeeds or fails on its own; answers wait for the store, whatever acks asks for but 0.
- acks=0 is never answered; an error then closes the connection, as the only way to tell the client.
- Topics are never created here; clients ask Metadata first.
- The log start offset is told beside an error, too, wherever the log is known.

Versions: v0 to v2 carry message sets of formats v0 and v1, stored as v2 · v3 one v2 batch (KIP-98) · v5 log
start offset · v7 zstd (KIP-110) · v8 record errors (KIP-467) · v10 current leader (KIP-951) · v13 topics by
id (KIP-516).
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from kgw_core.api.produce_legacy import FIRST_V2, Refused, convert, convert_in_thread, is_large
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import (
    InvalidRequiredAcks,
    KafkaError,
    RequestTimedOut,
    Unanswerable,
    UnknownServerError,
    UnknownTopicId,
    UnknownTopicOrPartition,
    UnsupportedCompressionType,
)
from kgw_core.log.looking import NamesRecords
from kgw_core.log.partition import PartitionLog
from kgw_core.log.producers import Appended
from kgw_core.pending import Pending
from kgw_core.records.batch import ATTRIBUTES_AT, CODEC_MASK
from kgw_core.records.compression import Codec
from kgw_core.wire.messages.produce import (
    BatchIndexAndErrorMessage,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)

BY_ID = 13
ZSTD = 7
_NO_RECORDS = memoryview(b"")
_NOTHING_REFUSED: Refused = {}


def handle(
    request: ProduceRequest, context: RequestContext
) -> ProduceResponse | Pending[ProduceResponse] | Coroutine[Any, Any, ProduceResponse | None] | None:
    """Append each partition's batch; the answer waits for those that the store makes wait."""
    if request.acks not in (-1, 0, 1):
        raise InvalidRequiredAcks(f"acks must be -1, 0 or 1, not {request.acks}")
    if context.version >= FIRST_V2:
        return _append(request, context, _NOTHING_REFUSED)
    if is_large(request):
        if not context.own_bytes:  # the frame is gone when this call returns
            for data in request.topic_data:
                for part in data.partition_data:
                    part.records = part.records and memoryview(bytearray(part.records))
        return _append_converted(request, context)
    return _append(request, context, convert(request, context.broker.config.limits.max_inflated_batch))


async def _append_converted(request: ProduceRequest, context: RequestContext) -> ProduceResponse | None:
    refused = await convert_in_thread(request, context.broker.config.limits.max_inflated_batch)
    response = _append(request, context, refused)
    return await response.wait() if isinstance(response, Pending) else response


def _append(
    request: ProduceRequest, context: RequestContext, refused: Refused
) -> ProduceResponse | Pending[ProduceResponse] | None:
    waiting: list[tuple[Pending[Appended], PartitionProduceResponse, PartitionLog]] = []
    topics = []
    for data in request.topic_data:
        partitions = []
        for part in data.partition_data:
            answer = PartitionProduceResponse(part.index, 0, -1)
            partitions.append(answer)
            log: PartitionLog | None = None
            try:
                log = find_log(data, part.index, context)
                if refused and id(part) in refused:
                    error = refused[id(part)]
                    if error is not None:
                        raise error
                    continue
                records = part.records
                if records is None:
                    records = _NO_RECORDS
                elif (
                    context.version < ZSTD
                    and len(records) > ATTRIBUTES_AT + 1
                    and records[ATTRIBUTES_AT + 1] & CODEC_MASK == Codec.ZSTD
                ):
                    raise UnsupportedCompressionType(
                        f"zstd needs Produce v{ZSTD}, this is v{context.version}"
                    )
                # A frame is worth keeping for a batch that fills at least half of it.
                stable = 2 * len(records) >= context.own_bytes > 0
                outcome = log.append(records, stable)  # type: ignore[arg-type] # decoded as memoryview
            except Exception as error:
                _fail(answer, error, context, data, part.index, log)
                continue
            if type(outcome) is Pending:
                waiting.append((outcome, answer, log))
            else:
                answer.base_offset, answer.log_append_time_ms = outcome  # type: ignore[misc] # Appended
                answer.log_start_offset = log.start
        if partitions:
            topics.append(TopicProduceResponse(data.name, data.topic_id, partitions))
    response = ProduceResponse(topics)
    if waiting:
        return _when_stored(request, response, waiting, context)
    if request.acks:
        return response
    _check_unanswered(response)
    return None


def find_log(data: TopicProduceData, index: int, context: RequestContext) -> PartitionLog:
    """The log of one partition of a request. :raises UnknownTopicOrPartition: :raises UnknownTopicId:"""
    catalog = context.broker.catalog
    if context.version < BY_ID:
        topic = catalog.by_name.get(data.name)
        if topic is None:
            raise UnknownTopicOrPartition(f"there is no topic '{data.name}'")
    else:
        topic = catalog.by_id.get(data.topic_id)
        if topic is None:
            raise UnknownTopicId(f"there is no topic with id {data.topic_id.hex()}")
    if not 0 <= index < len(topic.partitions):
        raise UnknownTopicOrPartition(f"{topic.name} has {len(topic.partitions)} partitions, none is {index}")
    return topic.partitions[index]


def _when_stored(
    request: ProduceRequest,
    response: ProduceResponse,
    waiting: list[tuple[Pending[Appended], PartitionProduceResponse, PartitionLog]],
    context: RequestContext,
) -> Pending[ProduceResponse]:
    """The answer once all appends are done, or after a time with what is done by then: with acks=all the
    client's, and never more than the broker's own."""
    most = context.broker.config.limits.append_timeout
    given = request.acks == -1 and request.timeout_ms > 0  # with none, Kafka waits for its own log as well
    seconds = min(request.timeout_ms / 1000, most) if given else most
    whole: Pending[ProduceResponse] = Pending()
    open_answers = {id(answer): answer for _, answer, _ in waiting}

    def finish() -> None:
        timer.cancel()
        if request.acks:
            whole.resolve(response)
            return
        try:
            _check_unanswered(response)
        except Unanswerable as error:
            whole.fail(error)
        else:
            whole.resolve(None)  # type: ignore[arg-type] # no answer

    def timed_out() -> None:
        error = RequestTimedOut(f"the storage has not said within {seconds:g} s what came of it")
        for answer in open_answers.values():
            answer.error_code = context.failed(error)
            answer.error_message = str(error)
        open_answers.clear()
        finish()

    def stored(pending: Pending[Appended], answer: PartitionProduceResponse, log: PartitionLog) -> None:
        if open_answers.pop(id(answer), None) is None:
            return
        try:
            answer.base_offset, answer.log_append_time_ms = pending.result()
            answer.log_start_offset = log.start
        except Exception as error:
            _fail(answer, error, context, None, answer.index, log)
        if not open_answers:
            finish()

    timer = context.broker.clock.call_later(seconds, timed_out)
    for pending, answer, log in waiting:
        pending.then(lambda pending, answer=answer, log=log: stored(pending, answer, log))  # type: ignore[misc]
    return whole


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
    """acks=0: nothing is answered. :raises Unanswerable: an error, which only the close can tell."""
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
