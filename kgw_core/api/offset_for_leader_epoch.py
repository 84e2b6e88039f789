"""OffsetForLeaderEpoch: the end of a leader epoch, by which a client detects truncation of its records.

Behaviour:
- The answer has the largest epoch up to the requested one, and the offset after its last record. It is -1 and
  -1 if the epoch is newer than the log's (KIP-320).
- The epochs are those of the store's bounds and batches.

Versions: v1 the epoch in the answer · v2 the client's current epoch · v3 replica id · v4 flexible.
"""

from __future__ import annotations

from kgw_core.api.large import Pace
from kgw_core.api.partitions import find_log
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.log.epochs import end_of_epoch
from kgw_core.wire.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
)


async def handle(
    request: OffsetForLeaderEpochRequest, context: RequestContext
) -> OffsetForLeaderEpochResponse:
    """Return the end of each epoch."""
    topics = []
    pace = Pace()
    for topic in request.topics:
        await pace.step()
        answers = []
        for asked in topic.partitions:
            answer = EpochEndOffset(0, asked.partition)
            answers.append(answer)
            await pace.step()
            try:
                log = find_log(context, topic.topic, asked.partition)
                await log.open()
                log.check_epoch(asked.current_leader_epoch)
                answer.leader_epoch, answer.end_offset = await end_of_epoch(log, asked.leader_epoch)
            except Exception as caught:
                answer.error_code = context.caught(caught, f"{topic.topic}-{asked.partition}").code
        topics.append(OffsetForLeaderTopicResult(topic.topic, answers))
    return OffsetForLeaderEpochResponse(0, topics)


def refuse(
    request: OffsetForLeaderEpochRequest, error: KafkaError, context: RequestContext
) -> OffsetForLeaderEpochResponse:
    """``error`` for every partition."""
    return OffsetForLeaderEpochResponse(
        0,
        [
            OffsetForLeaderTopicResult(
                topic.topic, [EpochEndOffset(error.code, asked.partition) for asked in topic.partitions]
            )
            for topic in request.topics
        ],
    )


API = Api("OffsetForLeaderEpoch", (0, 4), handle, refuse)
