"""DeleteRecords: raises the log start offset of partitions.

Behaviour:
- -1 is the high watermark, so it deletes all records. An offset below the start does nothing. One above the
  high watermark, or another negative number, is OFFSET_OUT_OF_RANGE.
- A topic that is only compacted refuses with POLICY_VIOLATION, an internal one with INVALID_TOPIC_EXCEPTION.
- If a partition occurs twice, the last one counts.

Versions: v1 throttling before the answer · v2 flexible.
"""

from __future__ import annotations

from kgw_core.api.large import CHANGES, Pace, some_at_once
from kgw_core.api.partitions import find_log
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidTopicException, KafkaError, PolicyViolation
from kgw_core.wire.messages.delete_records import (
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)

NO_OFFSET = -1
AT_ONCE = 100
"""Partitions that are trimmed beside each other, which a store may do in one commit."""


async def handle(request: DeleteRecordsRequest, context: RequestContext) -> DeleteRecordsResponse:
    """Trim each partition."""
    asked: dict[str, dict[int, int]] = {}
    pace = Pace()
    for topic in request.topics:
        await pace.step()
        offsets = asked.setdefault(topic.name, {})
        for each in topic.partitions:
            await pace.step()
            offsets[each.partition_index] = each.offset
    topics = []
    wanted: list[tuple[DeleteRecordsPartitionResult, str, int]] = []
    for name, offsets in asked.items():
        results = []
        for index, offset in offsets.items():
            await pace.step()
            result = DeleteRecordsPartitionResult(index, NO_OFFSET)
            results.append(result)
            wanted.append((result, name, offset))
        if results:
            topics.append(DeleteRecordsTopicResult(name, results))

    async def delete(one: tuple[DeleteRecordsPartitionResult, str, int]) -> None:
        result, name, offset = one
        try:
            result.low_watermark = await _delete(name, result.partition_index, offset, context)
        except Exception as caught:
            result.error_code = context.caught(caught, f"{name}-{result.partition_index}").code

    immediate = context.broker.logs.store.capabilities().immediate
    await some_at_once(wanted, delete, CHANGES if immediate else AT_ONCE, step=1)
    return DeleteRecordsResponse(0, topics)


async def _delete(name: str, index: int, offset: int, context: RequestContext) -> int:
    log = find_log(context, name, index)
    state = context.broker.catalog.find(name)
    if state.is_internal:
        raise InvalidTopicException(f"Cannot delete records of internal topic {name}")
    if state.configs.compact and not state.configs.delete:
        raise PolicyViolation(f"topic {name} is compacted: its cleanup.policy does not say delete")
    return await log.trim(offset)


def refuse(
    request: DeleteRecordsRequest, error: KafkaError, context: RequestContext
) -> DeleteRecordsResponse:
    """``error`` for every partition."""
    return DeleteRecordsResponse(
        0,
        [
            DeleteRecordsTopicResult(
                topic.name,
                [
                    DeleteRecordsPartitionResult(each.partition_index, NO_OFFSET, error.code)
                    for each in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )


API = Api("DeleteRecords", (0, 2), handle, refuse)
