"""AlterReplicaLogDirs: a replica stays in the one log dir that the store stands for.

Behaviour:
- To move a partition to where it is succeeds and does nothing. Any other dir is LOG_DIR_NOT_FOUND.
- Of a partition that is asked to go to several dirs the last one counts, as in Kafka.

Versions: v2 flexible.
"""

from __future__ import annotations

from kgw_core.api.describe_log_dirs import log_dir
from kgw_core.api.large import in_turns
from kgw_core.api.partitions import find_log
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
    """Each partition on its own."""
    here = log_dir(context)
    topics: dict[str, list[AlterReplicaLogDirPartitionResult]] = {}
    async for (name, partition), path in in_turns(_wanted(request).items()):
        result = AlterReplicaLogDirPartitionResult(partition)
        topics.setdefault(name, []).append(result)
        try:
            if path != here:
                raise LogDirNotFound(f"there is no log dir {path!r}, only {here}")
            find_log(context, name, partition)
        except Exception as caught:
            result.error_code = context.caught(caught, f"{name}-{partition}").code
    return AlterReplicaLogDirsResponse(
        0, [AlterReplicaLogDirTopicResult(name, partitions) for name, partitions in topics.items()]
    )


def _wanted(request: AlterReplicaLogDirsRequest) -> dict[tuple[str, int], str]:
    """Where each partition is to go."""
    return {
        (topic.name, partition): log_dir.path
        for log_dir in request.dirs
        for topic in log_dir.topics
        for partition in topic.partitions
    }


def refuse(
    request: AlterReplicaLogDirsRequest, error: KafkaError, context: RequestContext
) -> AlterReplicaLogDirsResponse:
    """``error`` for every partition."""
    topics: dict[str, list[AlterReplicaLogDirPartitionResult]] = {}
    for name, partition in _wanted(request):
        topics.setdefault(name, []).append(AlterReplicaLogDirPartitionResult(partition, error.code))
    return AlterReplicaLogDirsResponse(
        0, [AlterReplicaLogDirTopicResult(name, partitions) for name, partitions in topics.items()]
    )


API = Api("AlterReplicaLogDirs", (0, 2), handle, refuse)
