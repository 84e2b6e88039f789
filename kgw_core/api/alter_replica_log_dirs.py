"""AlterReplicaLogDirs: a replica stays in the single log dir, which is the store.

Behaviour:
- A move to the same dir succeeds and does nothing. Any other dir is LOG_DIR_NOT_FOUND.
- If a request names several dirs for a partition, the last one counts, as in Kafka.

Versions: v2 flexible.
"""

from __future__ import annotations

from collections.abc import Iterator

from kgw_core.api.describe_log_dirs import log_dir
from kgw_core.api.large import in_turns
from kgw_core.api.partitions import find_partition
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError, LogDirNotFound
from kgw_core.wire.messages.alter_replica_log_dirs import (
    AlterReplicaLogDirPartitionResult,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopicResult,
)


async def handle(request: AlterReplicaLogDirsRequest, context: RequestContext) -> AlterReplicaLogDirsResponse:
    """Answer each partition on its own."""
    here = log_dir(context)
    topics: dict[str, list[AlterReplicaLogDirPartitionResult]] = {}
    wanted = {partition: path async for partition, path in in_turns(_moves(request))}
    async for (name, index), path in in_turns(wanted.items()):
        result = AlterReplicaLogDirPartitionResult(index)
        topics.setdefault(name, []).append(result)
        try:
            if path != here:
                raise LogDirNotFound(f"there is no log dir {path!r}, only {here}")
            find_partition(context, name, index)
        except Exception as caught:
            result.error_code = context.caught(caught, f"{name}-{index}").code
    return AlterReplicaLogDirsResponse(
        0, [AlterReplicaLogDirTopicResult(name, partitions) for name, partitions in topics.items()]
    )


def _moves(request: AlterReplicaLogDirsRequest) -> Iterator[tuple[tuple[str, int], str]]:
    """Each partition with its new dir."""
    for each in request.dirs:
        for topic in each.topics:
            for index in topic.partitions:
                yield (topic.name, index), each.path


def refuse(
    request: AlterReplicaLogDirsRequest, error: KafkaError, context: RequestContext
) -> AlterReplicaLogDirsResponse:
    """``error`` for every partition."""
    topics: dict[str, list[AlterReplicaLogDirPartitionResult]] = {}
    for name, index in dict(_moves(request)):
        topics.setdefault(name, []).append(AlterReplicaLogDirPartitionResult(index, error.code))
    return AlterReplicaLogDirsResponse(
        0, [AlterReplicaLogDirTopicResult(name, partitions) for name, partitions in topics.items()]
    )


API = Api("AlterReplicaLogDirs", (0, 2), handle, refuse)
