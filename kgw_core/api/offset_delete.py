"""OffsetDelete: drops committed offsets (KIP-496).

Behaviour:
- Offsets of topics that the group's members subscribe to are kept: GROUP_SUBSCRIBED_TO_TOPIC. A group with
  members that are no consumers keeps all its offsets: NON_EMPTY_GROUP.

Versions: v0.
"""

from __future__ import annotations

from kgw_core.api.group_errors import code_of
from kgw_core.api.large import STEP, Pace
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import GroupIdNotFound, GroupSubscribedToTopic, KafkaError, UnknownTopicOrPartition
from kgw_core.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)


async def handle(request: OffsetDeleteRequest, context: RequestContext) -> OffsetDeleteResponse:
    """Drop the offsets; very many of them in several writes."""
    topics = []
    found: list[tuple[str, OffsetDeleteResponsePartition]] = []
    pace = Pace()
    for topic in request.topics:
        await pace.step()
        state = context.broker.catalog.by_name.get(topic.name)
        partitions = []
        for part in topic.partitions:
            await pace.step()
            answer = OffsetDeleteResponsePartition(part.partition_index)
            partitions.append(answer)
            if state is None or not 0 <= part.partition_index < len(state.partitions):
                where = f"{topic.name}-{part.partition_index}"
                unknown = UnknownTopicOrPartition(f"there is no partition {where}")
                answer.error_code = context.failed(unknown, where)
            else:
                found.append((topic.name, answer))
        if partitions:
            topics.append(OffsetDeleteResponseTopic(topic.name, partitions))
    for at in range(0, max(len(found), 1), STEP):
        try:
            error = await _drop(found[at : at + STEP], request.group_id, context)
        except GroupIdNotFound:
            if not at:
                raise
            break  # the group was dropped with its last offset
        if error is not None:
            return OffsetDeleteResponse(code_of(error, context, request.group_id))
    return OffsetDeleteResponse(0, 0, topics)


async def _drop(
    parts: list[tuple[str, OffsetDeleteResponsePartition]], group_id: str, context: RequestContext
) -> KafkaError | None:
    dropping, subscribed = context.broker.groups.delete_offsets(
        group_id, [(name, answer.partition_index) for name, answer in parts]
    )
    error = await dropping.wait()
    for name, answer in parts:
        if name in subscribed:
            answer.error_code = GroupSubscribedToTopic.code
    return error


def refuse(request: OffsetDeleteRequest, error: KafkaError, context: RequestContext) -> OffsetDeleteResponse:
    """``error``, without partitions."""
    return OffsetDeleteResponse(error.code)


API = Api("OffsetDelete", (0, 0), handle, refuse)
