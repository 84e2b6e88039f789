"""OffsetCommit: commits a group's offsets.

Behaviour:
- All partitions of a request are one write; those of a very large request are several. An unknown partition
  or topic, or metadata that is too long, fails alone.
- A member's commit renews its session, like a heartbeat.
- A client without generation and member id (always in v0) is a consumer that assigns its partitions itself,
  or an admin tool. It may commit while the group has no members.

Versions: v1 generation and member, a timestamp in v1 only · v2 to v4 a retention time · v6 leader epochs · v7
group.instance.id · v8 flexible · v9 GROUP_ID_NOT_FOUND · v10 topics by id (KIP-848).
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, TypeAlias

import anyio.lowlevel

from kgw_core.api.group_errors import code_of
from kgw_core.api.large import MANY, STEP
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError, OffsetMetadataTooLarge, UnknownTopicId, UnknownTopicOrPartition
from kgw_core.groups.records import Committed
from kgw_core.pending import Pending
from kgw_core.steps import at_once
from kgw_core.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)

BY_ID = 10
TELLS_UNKNOWN = 9

Places: TypeAlias = list[tuple[str, int, Committed]]
"""By topic and partition."""


def handle(
    request: OffsetCommitRequest, context: RequestContext
) -> OffsetCommitResponse | Pending[OffsetCommitResponse] | Coroutine[Any, Any, OffsetCommitResponse]:
    """Check each partition, then write the valid ones."""
    if context.entries > MANY:
        return _in_turns(request, context)
    committed: Places = []
    accepted: list[OffsetCommitResponsePartition] = []
    response = at_once(_checked(request, context, committed, accepted))
    if not accepted:
        return response
    try:
        written = _commit(committed, request, context)
    except KafkaError as error:
        _fail(accepted, code_of(error, context, request.group_id))
        return response
    if written.done:
        _fail(accepted, code_of(written.result(), context, request.group_id))
        return response
    whole: Pending[OffsetCommitResponse] = Pending()

    def done(written: Pending[KafkaError | None]) -> None:
        _fail(accepted, code_of(written.result(), context, request.group_id))
        whole.resolve(response)

    written.then(done)
    return whole


async def _in_turns(request: OffsetCommitRequest, context: RequestContext) -> OffsetCommitResponse:
    """The same in steps: some partitions are checked and written, then the event loop serves others."""
    committed: Places = []
    accepted: list[OffsetCommitResponsePartition] = []
    steps = _checked(request, context, committed, accepted)
    while True:
        await anyio.lowlevel.checkpoint()
        response: OffsetCommitResponse | None = None
        try:
            for _ in range(STEP):
                next(steps)
        except StopIteration as end:
            response = end.value
        if accepted:
            error: KafkaError | None
            try:
                error = await _commit(list(committed), request, context).wait()
            except KafkaError as refused:
                error = refused
            _fail(accepted, code_of(error, context, request.group_id))
            committed.clear()
            accepted.clear()
        if response is not None:
            return response


def _checked(
    request: OffsetCommitRequest,
    context: RequestContext,
    committed: Places,
    accepted: list[OffsetCommitResponsePartition],
) -> Generator[None, None, OffsetCommitResponse]:
    """Check each partition, in steps. Valid offsets go into ``committed``, and their entries of the response
    into ``accepted``."""
    broker, by_id = context.broker, context.version >= BY_ID
    now_ms = broker.clock.time_ms()
    expires_ms = now_ms + request.retention_time_ms if request.retention_time_ms != -1 else -1
    longest = broker.groups.settings.offset_metadata_max_size
    topics = []
    for asked in request.topics:
        state = broker.catalog.by_id.get(asked.topic_id) if by_id else broker.catalog.by_name.get(asked.name)
        partitions = []
        for part in asked.partitions:
            index, metadata = part.partition_index, part.committed_metadata or ""
            answer = OffsetCommitResponsePartition(index)
            partitions.append(answer)
            if state is None or not 0 <= index < len(state.partitions):
                answer.error_code = _unknown(state is None and by_id, asked.name, index, context)
            elif metadata and utf16_length(metadata) > longest:
                error = OffsetMetadataTooLarge(f"{utf16_length(metadata)} characters, {longest} may be")
                answer.error_code = context.failed(error, f"{state.name}-{index}")
            else:
                time_ms = part.commit_timestamp if part.commit_timestamp != -1 else now_ms
                offset, epoch = part.committed_offset, part.committed_leader_epoch
                place = Committed(offset, epoch, metadata, time_ms, expires_ms, state.id_bytes)
                committed.append((state.name, index, place))
                accepted.append(answer)
            yield
        if partitions:
            topics.append(OffsetCommitResponseTopic(asked.name, asked.topic_id, partitions))
    return OffsetCommitResponse(0, topics)


def _commit(
    committed: Places, request: OffsetCommitRequest, context: RequestContext
) -> Pending[KafkaError | None]:
    """Write the offsets. :raises KafkaError: the group refuses them."""
    return context.broker.groups.commit(
        request.group_id,
        request.generation_id_or_member_epoch,
        request.member_id,
        request.group_instance_id,
        committed,
        tells_unknown=context.version >= TELLS_UNKNOWN,
    )


def utf16_length(text: str) -> int:
    """The length of ``text`` as Kafka counts it, in code units of UTF-16."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def _unknown(id_unknown: bool, name: str, index: int, context: RequestContext) -> int:
    if id_unknown:
        return context.failed(UnknownTopicId("there is no topic with this id"))
    return context.failed(UnknownTopicOrPartition(f"there is no partition {name}-{index}"), f"{name}-{index}")


def _fail(answers: list[OffsetCommitResponsePartition], code: int) -> None:
    if code:
        for answer in answers:
            answer.error_code = code


def refuse(request: OffsetCommitRequest, error: KafkaError, context: RequestContext) -> OffsetCommitResponse:
    """``error`` for every partition."""
    return OffsetCommitResponse(
        0,
        [
            OffsetCommitResponseTopic(
                topic.name,
                topic.topic_id,
                [
                    OffsetCommitResponsePartition(part.partition_index, error.code)
                    for part in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )


API = Api("OffsetCommit", (0, 10), handle, refuse)
