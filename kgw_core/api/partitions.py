"""Looks up the log of a request's partition."""

from __future__ import annotations

from kgw_core.broker import RequestContext
from kgw_core.errors import UnknownTopicOrPartition
from kgw_core.log.partition import PartitionLog


def find_log(context: RequestContext, topic: str, partition: int) -> PartitionLog:
    """The log of ``partition`` of ``topic``.

    :raises UnknownTopicOrPartition: there is no such topic, or it has no such partition.
    """
    logs = context.broker.catalog.find(topic).partitions
    if not 0 <= partition < len(logs):
        raise UnknownTopicOrPartition(f"topic '{topic}' has {len(logs)} partition(s), none is {partition}")
    return logs[partition]
