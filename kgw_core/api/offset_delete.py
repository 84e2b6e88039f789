"""OffsetDelete: forget committed offsets (KIP-496).

Behaviour:
- Offsets of topics that the group's members subscribe to stay: GROUP_SUBSCRIBED_TO_TOPIC. A group with
  members that are no consumers keeps all: NON_EMPTY_GROUP.

Versions: v0.
"""

from __future__ import annotations

from kgw_core.api.group_errors import code_of
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import GroupSubscribedToTopic, KafkaError, UnknownTopicOrPartition
from kgw_core.pending import Pending
from kgw_core.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)


def handle(request: OffsetDeleteRequest, context: RequestContext) -> Pending[OffsetDeleteResponse]:
    """Drop them."""
    topics = []
    found: list[tuple[str, OffsetDeleteResponsePartition]] = []
    for topic in request.topics:
        state = context.broker.catalog.by_name.get(topic.name)
        partitions = []
        for part in topic.partitions:
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
    dropping, subscribed = context.broker.groups.delete_offsets(
        request.group_id, [(name, answer.partition_index) for name, answer in found]
    )
    whole: Pending[OffsetDeleteResponse] = Pending()

    def done(outcome: Pending[KafkaError | None]) -> None:
        error = outcome.result()
        if error is not None:
            whole.resolve(OffsetDeleteResponse(code_of(error, context, request.group_id)))
            return
        for name, part in found:
            if name in subscribed:
                part.error_code = GroupSubscribedToTopic.code
        whole.resolve(OffsetDeleteResponse(0, 0, topics))

    dropping.then(done)
    return whole


def refuse(request: OffsetDeleteRequest, error: KafkaError, context: RequestContext) -> OffsetDeleteResponse:
    """``error``, and nothing of the partitions."""
    return OffsetDeleteResponse(error.code)


API = Api("OffsetDelete", (0, 0), handle, refuse)
