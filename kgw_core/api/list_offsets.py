"""ListOffsets: the start and end of a partition's log, and offsets by time.

Behaviour:
- -2 (earliest) and -1 (latest; the last stable offset under read_committed) are answered at once.
- A time, and -3 (the record with the largest timestamp), are looked up in the store.
- -4 (earliest local) is the log start. -5 (latest tiered) and -6 (earliest pending upload) have no offset, as
  there is no tiered storage.
- The leader epoch of an answer is that of the record's batch; for the latest offset it is the log's.
- A partition that occurs twice in a request has one answer, INVALID_REQUEST. A topic that occurs twice has
  one entry.
- v0 lists offsets downwards, as Kafka up to 3.x did: the starts of segments, with the log's end first. For a
  time it has the segments that were not written to after that time. Here the log is one segment that ends at
  the time: the answer is the first offset that was written later, and the log start; or nothing if all was
  written later.

Versions: v1 is the first with one offset for each partition · v2 isolation level · v4 leader epoch · v7 -3
(KIP-734) · v8 -4 (KIP-405) · v9 -5 (KIP-1005) · v11 -6 (KIP-1023).
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, NamedTuple

from kgw_core.api.large import MANY, STEP, some_at_once
from kgw_core.api.partitions import find_log
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import (
    InvalidRequest,
    KafkaError,
    UnknownServerError,
    UnsupportedVersion,
)
from kgw_core.log.lookup import (
    Found,
    epoch_at,
    offset_for_time,
    offset_for_write_time,
    offset_of_max_time,
)
from kgw_core.log.partition import PartitionLog
from kgw_core.steps import at_once, taking_turns
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
LOOKUPS = 8
"""The most look-ups of one request in the store at the same time."""
LEADER_EPOCH = 4

SINCE = {
    LATEST: 0,
    EARLIEST: 0,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
"""The first version with each special timestamp."""


def handle(
    request: ListOffsetsRequest, context: RequestContext
) -> ListOffsetsResponse | Coroutine[Any, Any, ListOffsetsResponse]:
    """Answer at once, unless the store is needed or the request has many entries."""
    if context.entries > MANY:
        return _in_turns(request, context)
    response, lookups = at_once(_answers(request, context))
    return _look_up(request, response, lookups, context) if lookups else response


async def _in_turns(request: ListOffsetsRequest, context: RequestContext) -> ListOffsetsResponse:
    response, lookups = await taking_turns(_answers(request, context), STEP)
    return await _look_up(request, response, lookups, context)


def _answers(
    request: ListOffsetsRequest, context: RequestContext
) -> Generator[None, None, tuple[ListOffsetsResponse, list[Lookup]]]:
    """Answer each partition as far as it is known, in steps; return the look-ups that are needed."""
    wanted: dict[str, dict[int, ListOffsetsPartition | None]] = {}
    for topic in request.topics:
        partitions = wanted.setdefault(topic.name, {})
        for asked in topic.partitions:
            index = asked.partition_index
            partitions[index] = None if index in partitions else asked
            yield
    response = ListOffsetsResponse(0, [])
    lookups: list[Lookup] = []
    for name, partitions in wanted.items():
        answers = [ListOffsetsPartitionResponse(index) for index in partitions]
        if answers:
            response.topics.append(ListOffsetsTopicResponse(name, answers))
        for answer, entry in zip(answers, partitions.values(), strict=True):
            try:
                if entry is None:
                    raise InvalidRequest(f"{name}-{answer.partition_index} is asked for twice")
                _check_version(entry.timestamp, context)
                lookup = Lookup(entry, answer, find_log(context, name, entry.partition_index))
                if not _answered(lookup, request, context):
                    lookups.append(lookup)
            except KafkaError as error:
                _fail(answer, error, context, name)
            yield
    return response, lookups


class Lookup(NamedTuple):
    """A partition of the request, its answer, and its log."""

    asked: ListOffsetsPartition
    answer: ListOffsetsPartitionResponse
    log: PartitionLog


def _check_version(timestamp: int, context: RequestContext) -> None:
    """Check a timestamp. :raises UnsupportedVersion: this version does not have the special ``timestamp``."""
    if context.version < SINCE.get(timestamp, 0) or timestamp < EARLIEST_PENDING_UPLOAD:
        raise UnsupportedVersion(
            f"timestamp {timestamp} cannot be asked for in ListOffsets v{context.version}"
        )


async def _look_up(
    request: ListOffsetsRequest,
    response: ListOffsetsResponse,
    lookups: list[Lookup],
    context: RequestContext,
) -> ListOffsetsResponse:
    await some_at_once(lookups, lambda lookup: _look_up_one(lookup, request, context), LOOKUPS)
    return response


async def _look_up_one(lookup: Lookup, request: ListOffsetsRequest, context: RequestContext) -> None:
    most = context.broker.config.limits.max_inflated_batch
    asked, answer, log = lookup
    found: Found | None
    try:
        await log.open()
        if _answered(lookup, request, context):
            return
        if asked.timestamp in (EARLIEST, EARLIEST_LOCAL):
            found = Found(log.start, -1, await epoch_at(log, log.start))
        elif asked.timestamp == MAX_TIMESTAMP:
            found = await offset_of_max_time(log, most)
        elif context.version == 0:
            _put_all(lookup, await _segments_before(log, asked.timestamp))
            return
        else:
            found = await offset_for_time(log, asked.timestamp, most)
        _put(lookup, found, context)
    except Exception as error:
        _fail(answer, error, context, log.tp.topic)


async def _segments_before(log: PartitionLog, timestamp: int) -> list[int]:
    """The offsets of a v0 answer for a time (ms). An empty segment is older than every time."""
    before = await offset_for_write_time(log, timestamp + 1)
    if before > log.start:
        return [before, log.start]
    return [log.start] if log.start == log.high_watermark else []


def _answered(lookup: Lookup, request: ListOffsetsRequest, context: RequestContext) -> bool:
    """Answer from the log if it is open. Return whether the answer is complete."""
    asked, _, log = lookup
    if not log.ready:
        return False
    log.check_epoch(asked.current_leader_epoch)
    epoch = log.leader_epoch
    if asked.timestamp == LATEST:
        committed = request.isolation_level == READ_COMMITTED
        offset = log.last_stable_offset if committed else log.high_watermark
        if context.version == 0 and log.start != offset:
            _put_all(lookup, [offset, log.start])
        else:
            _put(lookup, Found(offset, -1, epoch), context)
    elif asked.timestamp in (EARLIEST, EARLIEST_LOCAL) and (not epoch or context.version < LEADER_EPOCH):
        _put(lookup, Found(log.start, -1, epoch), context)
    else:
        return asked.timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD)
    return True


def _put(lookup: Lookup, found: Found | None, context: RequestContext) -> None:
    answer = lookup.answer
    if context.version == 0:
        _put_all(lookup, [] if found is None else [found.offset])
    elif found is not None:
        answer.offset, answer.timestamp = found.offset, found.timestamp
        if context.version >= LEADER_EPOCH:
            answer.leader_epoch = found.leader_epoch


def _put_all(lookup: Lookup, offsets: list[int]) -> None:
    lookup.answer.old_style_offsets = offsets[: max(lookup.asked.max_num_offsets, 0)]


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
