"""OffsetFetch: the committed offsets of groups.

Behaviour:
- A partition without a committed offset has offset -1 and no error, also in an unknown group.
- Null topics mean all committed offsets of the group (v2 on).
- An error of the group is in every partition in v0 and v1, at the top from v2 on, and at the group from v8
  on.
- With require_stable, a partition whose offset an open transaction changes has UNSTABLE_OFFSET_COMMIT.

Versions: v2 all topics · v5 leader epochs · v6 flexible · v7 require_stable (KIP-447) · v8 several groups
(KIP-709) · v9 member epochs (KIP-848) · v10 topics by id.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Iterable
from functools import partial
from typing import Any

from kgw_core.api.group_errors import code_of
from kgw_core.api.large import MANY, STEP, LargeAnswer, large
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import GroupIdNotFound, KafkaError, UnknownTopicId, UnstableOffsetCommit
from kgw_core.groups.group import Group
from kgw_core.groups.records import Committed
from kgw_core.steps import at_once, taking_turns
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)

ERROR_AT_TOP = 2
GROUPS = 8
BY_ID = 10


def handle(
    request: OffsetFetchRequest, context: RequestContext
) -> OffsetFetchResponse | Coroutine[Any, Any, LargeAnswer]:
    """Look the offsets up; very many of them in steps."""
    steps = _looked_up(request, context)
    if context.entries > MANY or _count_all(request, context) > MANY:
        return large(partial(taking_turns, steps, STEP))
    return at_once(steps)


def _count_all(request: OffsetFetchRequest, context: RequestContext) -> int:
    """The number of committed offsets of the groups with null topics."""
    if context.version >= GROUPS:
        names = [asked.group_id for asked in request.groups if asked.topics is None]
    else:
        names = [request.group_id] if request.topics is None else []
    groups = context.broker.groups.coordinator.groups
    return sum(len(known) for name in names if name in groups for known in groups[name].offsets.values())


def _looked_up(
    request: OffsetFetchRequest, context: RequestContext
) -> Generator[None, None, OffsetFetchResponse]:
    if context.version >= GROUPS:
        response = OffsetFetchResponse(groups=[])
        for of in request.groups:
            yield
            response.groups.append((yield from _group(of, request, context)))
        return response
    topics = None
    if request.topics is not None:
        topics = [
            OffsetFetchRequestTopics(topic.name, ZERO_UUID, topic.partition_indexes)
            for topic in request.topics
        ]
    asked = OffsetFetchRequestGroup(request.group_id, topics=topics)
    group = yield from _group(asked, request, context)
    return (yield from _single(group, context))


def _group(
    asked: OffsetFetchRequestGroup, request: OffsetFetchRequest, context: RequestContext
) -> Generator[None, None, OffsetFetchResponseGroup]:
    group: Group | None
    try:
        group = context.broker.groups.find(asked.group_id)
    except GroupIdNotFound:
        group = None
    except KafkaError as error:
        return _failed(asked, code_of(error, context, asked.group_id))
    if asked.topics is None:
        every = yield from _all(group, request, context)
        return OffsetFetchResponseGroup(asked.group_id, every)
    catalog = context.broker.catalog
    topics = []
    for topic in asked.topics:
        yield
        name = topic.name
        if context.version >= BY_ID:
            state = catalog.by_id.get(topic.topic_id)
            if state is None:
                code = context.failed(UnknownTopicId(f"there is no topic with id {topic.topic_id.hex()}"))
                topics.append(_nothing(topic, code))
                continue
            name = state.name
        known = group.offsets.get(name, {}) if group is not None else {}
        now = catalog.by_name.get(name)
        places = ((index, known.get(index)) for index in topic.partition_indexes)
        # An offset of a deleted topic of this name is about to be dropped.
        partitions = (
            (index, place if place is None or now is None or place.topic_id == now.id_bytes else None)
            for index, place in places
        )
        topics.append((yield from _topic(group, name, topic.topic_id, partitions, request)))
    return OffsetFetchResponseGroup(asked.group_id, topics)


def _all(
    group: Group | None, request: OffsetFetchRequest, context: RequestContext
) -> Generator[None, None, list[OffsetFetchResponseTopics]]:
    topics = []
    for name, known in list(group.offsets.items()) if group is not None else ():
        state = context.broker.catalog.by_name.get(name)
        if state is not None:
            places = [place for place in known.items() if place[1].topic_id == state.id_bytes]
            topics.append((yield from _topic(group, name, state.id_bytes, places, request)))
    return topics


def _topic(
    group: Group | None,
    name: str,
    topic_id: bytes,
    partitions: Iterable[tuple[int, Committed | None]],
    request: OffsetFetchRequest,
) -> Generator[None, None, OffsetFetchResponseTopics]:
    answers = []
    unsettled = group is not None and bool(group.transactions) and request.require_stable
    for index, place in partitions:
        if unsettled and group is not None and group.has_pending_offset(name, index):
            answers.append(OffsetFetchResponsePartitions(index, -1, -1, "", UnstableOffsetCommit.code))
        elif place is None:
            answers.append(OffsetFetchResponsePartitions(index, -1, -1, ""))
        else:
            answers.append(
                OffsetFetchResponsePartitions(index, place.offset, place.leader_epoch, place.metadata)
            )
        yield
    return OffsetFetchResponseTopics(name, topic_id, answers)


def _nothing(topic: OffsetFetchRequestTopics, code: int) -> OffsetFetchResponseTopics:
    partitions = [OffsetFetchResponsePartitions(index, -1, -1, "", code) for index in topic.partition_indexes]
    return OffsetFetchResponseTopics(topic.name, topic.topic_id, partitions)


def _failed(asked: OffsetFetchRequestGroup, code: int) -> OffsetFetchResponseGroup:
    return OffsetFetchResponseGroup(
        asked.group_id, [_nothing(topic, code) for topic in asked.topics or ()], code
    )


def _single(
    group: OffsetFetchResponseGroup, context: RequestContext
) -> Generator[None, None, OffsetFetchResponse]:
    """The answer before v8, with one group at the top."""
    if group.error_code and context.version >= ERROR_AT_TOP:
        return OffsetFetchResponse(0, [], group.error_code)
    topics = []
    for topic in group.topics:
        partitions = []
        for part in topic.partitions:
            answer = OffsetFetchResponsePartition(
                part.partition_index,
                part.committed_offset,
                part.committed_leader_epoch,
                part.metadata,
                part.error_code,
            )
            partitions.append(answer)
            yield
        topics.append(OffsetFetchResponseTopic(topic.name, partitions))
    return OffsetFetchResponse(0, topics, group.error_code)


def refuse(request: OffsetFetchRequest, error: KafkaError, context: RequestContext) -> OffsetFetchResponse:
    """``error`` for every group."""
    if context.version >= GROUPS:
        groups = [OffsetFetchResponseGroup(asked.group_id, [], error.code) for asked in request.groups]
        return OffsetFetchResponse(groups=groups)
    topics = [
        OffsetFetchRequestTopics(topic.name, ZERO_UUID, topic.partition_indexes)
        for topic in request.topics or ()
    ]
    asked = OffsetFetchRequestGroup(request.group_id, topics=topics)
    return at_once(_single(_failed(asked, error.code), context))


API = Api("OffsetFetch", (0, 10), handle, refuse)
