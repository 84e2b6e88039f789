"""ListOffsets: where a partition's log starts and ends, and which offset a time has.

Behaviour:
- -2 earliest and -1 latest (the last stable offset under read_committed) answer at once.
- A time, and -3 (the record with the largest timestamp), look into the store.
- -4 earliest local is the log start; -5 latest tiered and -6 earliest pending upload have no offset, as
  there is no tiered storage.

Versions: v1 is the first with one offset a partition · v2 isolation level · v4 leader epoch · v7 -3
(KIP-734) · v8 -4 (KIP-405) · v9 -5 (KIP-1005) · v11 -6 (KIP-1023).
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import (
    InvalidRequest,
    KafkaError,
    UnknownServerError,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)
from kgw_core.log.lookup import offset_for_time, offset_of_max_time
from kgw_core.log.partition import PartitionLog
from kgw_core.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL = -1, -2, -3, -4
LATEST_TIERED, EARLIEST_PENDING_UPLOAD = -5, -6
READ_COMMITTED = 1
LEADER_EPOCH = 4

SINCE = {
    LATEST: 0,
    EARLIEST: 0,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
"""The version from which on each special timestamp may be asked for."""


def handle(
    request: ListOffsetsRequest, context: RequestContext
) -> ListOffsetsResponse | Coroutine[Any, Any, ListOffsetsResponse]:
    """Answer at once where nothing has to be looked up in the store."""
    seen: set[tuple[str, int]] = set()
    twice: set[tuple[str, int]] = set()
    topics = []
    to_do: list[tuple[ListOffsetsPartition, ListOffsetsPartitionResponse, str]] = []
    for topic in request.topics:
        partitions = []
        for asked in topic.partitions:
            key = (topic.name, asked.partition_index)
            (twice if key in seen else seen).add(key)
            answer = ListOffsetsPartitionResponse(asked.partition_index)
            partitions.append(answer)
            to_do.append((asked, answer, topic.name))
        topics.append(ListOffsetsTopicResponse(topic.name, partitions))
    response = ListOffsetsResponse(0, topics)
    lookups: list[tuple[ListOffsetsPartition, ListOffsetsPartitionResponse, PartitionLog]] = []
    for asked, answer, name in to_do:
        try:
            if (name, asked.partition_index) in twice:
                raise InvalidRequest(f"{name}-{asked.partition_index} is asked for twice")
            log = _find_log(name, asked.partition_index, context)
            if context.version < SINCE.get(asked.timestamp, 0) or asked.timestamp < EARLIEST_PENDING_UPLOAD:
                raise UnsupportedVersion(
                    f"timestamp {asked.timestamp} cannot be asked for in ListOffsets v{context.version}"
                )
            if log.ready and asked.timestamp in (LATEST, EARLIEST):
                _answer_known(asked, answer, log, request, context)
            else:
                lookups.append((asked, answer, log))
        except KafkaError as error:
            _fail(answer, error, context, name)
    return _look_up(request, response, lookups, context) if lookups else response


def _find_log(name: str, index: int, context: RequestContext) -> PartitionLog:
    state = context.broker.catalog.find(name)
    if not 0 <= index < len(state.partitions):
        raise UnknownTopicOrPartition(f"{name} has {len(state.partitions)} partitions, none is {index}")
    return state.partitions[index]


async def _look_up(
    request: ListOffsetsRequest,
    response: ListOffsetsResponse,
    lookups: list[tuple[ListOffsetsPartition, ListOffsetsPartitionResponse, PartitionLog]],
    context: RequestContext,
) -> ListOffsetsResponse:
    most = context.broker.config.limits.max_inflated_batch
    for asked, answer, log in lookups:
        try:
            await log.open()
            if asked.timestamp >= 0:
                log.check_epoch(asked.current_leader_epoch)
                _put(answer, await offset_for_time(log, asked.timestamp, most), log, asked, context)
            elif asked.timestamp == MAX_TIMESTAMP:
                log.check_epoch(asked.current_leader_epoch)
                _put(answer, await offset_of_max_time(log, most), log, asked, context)
            else:
                _answer_known(asked, answer, log, request, context)
        except Exception as error:
            _fail(answer, error, context, log.tp.topic)
    return response


def _answer_known(
    asked: ListOffsetsPartition,
    answer: ListOffsetsPartitionResponse,
    log: PartitionLog,
    request: ListOffsetsRequest,
    context: RequestContext,
) -> None:
    log.check_epoch(asked.current_leader_epoch)
    if asked.timestamp == LATEST:
        committed = request.isolation_level == READ_COMMITTED
        _put(answer, (log.last_stable_offset if committed else log.high_watermark, -1), log, asked, context)
    elif asked.timestamp in (EARLIEST, EARLIEST_LOCAL):
        _put(answer, (log.start, -1), log, asked, context)
    else:
        _put(answer, None, log, asked, context)


def _put(
    answer: ListOffsetsPartitionResponse,
    found: tuple[int, int] | None,
    log: PartitionLog,
    asked: ListOffsetsPartition,
    context: RequestContext,
) -> None:
    if context.version == 0:
        # v0 lists offsets downwards: the one asked for, then the starts of older segments, here of one.
        offsets = [] if found is None else [found[0]]
        if asked.timestamp == LATEST and log.start != log.high_watermark:
            offsets.append(log.start)
        answer.old_style_offsets = offsets[: max(asked.max_num_offsets, 0)]
    elif found is not None:
        answer.offset, answer.timestamp = found
        if context.version >= LEADER_EPOCH:
            answer.leader_epoch = log.leader_epoch


def _fail(answer: ListOffsetsPartitionResponse, error: Exception, context: RequestContext, name: str) -> None:
    if not isinstance(error, KafkaError):
        context.client.crashed(context.api, error)
        error = UnknownServerError(f"the gateway failed at this partition: {error!r}")
    answer.error_code = context.failed(error, f"{name}-{answer.partition_index}")


def refuse(request: ListOffsetsRequest, error: KafkaError, context: RequestContext) -> ListOffsetsResponse:
    """``error`` for every partition."""
    return ListOffsetsResponse(
        0,
        [
            ListOffsetsTopicResponse(
                topic.name,
                [
                    ListOffsetsPartitionResponse(asked.partition_index, error.code)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )


API = Api("ListOffsets", (0, 11), handle, refuse)
