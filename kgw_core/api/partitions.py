"""Looks up the log of a request's partition. Only this module raises NOT_LEADER_OR_FOLLOWER for a request."""

from __future__ import annotations

from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError, UnknownTopicId, UnknownTopicOrPartition
from kgw_core.log.partition import PartitionLog
from kgw_core.placement import Placement
from kgw_core.topics.catalog import TopicState


def find_log(context: RequestContext, topic: str | bytes, partition: int) -> PartitionLog:
    """The log of ``partition`` of the topic with that name or id (16 bytes), if this gateway leads it or may
    lead it. It may have to be opened.

    :raises UnknownTopicOrPartition: no topic has that name, or it has no such partition.
    :raises UnknownTopicId: no topic has that id.
    :raises NotLeaderOrFollower: another gateway leads it.
    """
    state = context.broker.catalog.by_key.get(topic)
    if state is None:
        raise _no_topic(topic)
    logs = state.partitions
    if not 0 <= partition < len(logs):
        raise _no_partition(state, partition)
    log = logs[partition]
    if not log.ready:
        context.broker.placement.check_leads(log.tp)
    return log


def find_partition(context: RequestContext, topic: str, partition: int) -> PartitionLog:
    """The same for requests that need no leader. :raises: as :func:`find_log`."""
    state = context.broker.catalog.by_name.get(topic)
    if state is None:
        raise _no_topic(topic)
    if not 0 <= partition < len(state.partitions):
        raise _no_partition(state, partition)
    return state.partitions[partition]


def leader_of(log: PartitionLog, placement: Placement) -> tuple[int, int]:
    """The leader of the partition and its epoch for clients; -1 and -1 if there is none."""
    leader = placement.leader(log.tp)
    if leader is None:
        return -1, -1
    node_id, epoch = leader
    return node_id, epoch if epoch >= 0 else log.leader_epoch


def _no_topic(topic: str | bytes) -> KafkaError:
    if isinstance(topic, str):
        return UnknownTopicOrPartition(f"there is no topic '{topic}'")
    return UnknownTopicId(f"there is no topic with id {topic.hex()}")


def _no_partition(topic: TopicState[PartitionLog], partition: int) -> UnknownTopicOrPartition:
    return UnknownTopicOrPartition(
        f"topic '{topic.name}' has {len(topic.partitions)} partition(s), none is {partition}"
    )
