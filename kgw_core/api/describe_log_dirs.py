"""DescribeLogDirs: the size of each partition in the single log dir, which is the store.

Behaviour:
- The dir has the store's name. Its total and free bytes are unknown (-1).
- Null topics mean all topics. Unknown partitions are left out.
- If the store fails, the dir has KAFKA_STORAGE_ERROR.

Versions: v2 flexible · v3 an error for the whole · v4 total and free bytes (KIP-827) · v5 cordoned dirs.
"""

from __future__ import annotations

from functools import partial

import anyio

from kgw_core.api.large import MANY, LargeAnswer, Pace
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError, KafkaStorageError, UnknownTopicOrPartition
from kgw_core.log.partition import PartitionLog
from kgw_core.wire.messages.describe_log_dirs import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)

AT_ONCE = 64
"""How many sizes are requested from the store at a time."""


def log_dir(context: RequestContext) -> str:
    """The name of the log dir: a path with the store's name, as tools expect a path."""
    return f"/kgw/{context.broker.logs.store.name}"


async def handle(
    request: DescribeLogDirsRequest, context: RequestContext
) -> DescribeLogDirsResponse | LargeAnswer:
    """Return the sizes of the partitions."""
    logs = await _wanted(request, context)
    if len(logs) > MANY:
        return LargeAnswer(partial(_described, logs, context))
    return await _described(logs, context)


async def _described(logs: list[PartitionLog], context: RequestContext) -> DescribeLogDirsResponse:
    here = log_dir(context)
    topics: dict[str, DescribeLogDirsTopic] = {}
    for at in range(0, len(logs), AT_ONCE):
        piece = logs[at : at + AT_ONCE]
        for log, size in zip(piece, await _measured(piece, context), strict=True):
            if isinstance(size, UnknownTopicOrPartition):
                continue  # the topic was deleted meanwhile
            if isinstance(size, Exception):
                failure = size if isinstance(size, KafkaError) else KafkaStorageError(f"{log.tp}: {size}")
                code = context.failed(failure, str(log.tp))
                return DescribeLogDirsResponse(results=[DescribeLogDirsResult(code, here)])
            name = log.tp.topic
            topic = topics.setdefault(name, DescribeLogDirsTopic(name, []))
            topic.partitions.append(DescribeLogDirsPartition(log.tp.partition, size))
    return DescribeLogDirsResponse(
        results=[DescribeLogDirsResult(0, here, [topics[name] for name in sorted(topics)])]
    )


async def _wanted(request: DescribeLogDirsRequest, context: RequestContext) -> list[PartitionLog]:
    by_name = context.broker.catalog.by_name
    if request.topics is None:
        return [log for state in by_name.values() for log in state.partitions]
    logs: dict[PartitionLog, None] = {}
    pace = Pace()
    for topic in request.topics:
        await pace.step()
        state = by_name.get(topic.topic)
        for index in topic.partitions if state is not None else ():
            await pace.step()
            if state is not None and 0 <= index < len(state.partitions):
                logs[state.partitions[index]] = None
    return list(logs)


async def _measured(logs: list[PartitionLog], context: RequestContext) -> list[int | Exception]:
    """The size of each log, or the error."""
    store = context.broker.logs.store
    sizes: list[int | Exception] = [0] * len(logs)

    async def measure(index: int) -> None:
        try:
            sizes[index] = (await store.bounds(logs[index].tp)).size
        except Exception as error:
            sizes[index] = error

    async with anyio.create_task_group() as tasks:
        for index in range(len(logs)):
            tasks.start_soon(measure, index)
    return sizes


def refuse(
    request: DescribeLogDirsRequest, error: KafkaError, context: RequestContext
) -> DescribeLogDirsResponse:
    """``error`` for the whole from v3 on, else for the one dir."""
    if context.version >= 3:
        return DescribeLogDirsResponse(error_code=error.code)
    return DescribeLogDirsResponse(results=[DescribeLogDirsResult(error.code, log_dir(context))])


API = Api("DescribeLogDirs", (0, 5), handle, refuse)
