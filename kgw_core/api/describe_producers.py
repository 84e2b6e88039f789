"""DescribeProducers: the producers that a partition remembers (KIP-664).

Behaviour: ``lastTimestamp`` is the time at which the gateway took the producer's last batch. After a restart
it is the batch's largest timestamp, or the time of the restart if that is impossible. There are no
transactions, so there is no coordinator epoch and no start offset.
"""

from __future__ import annotations

from kgw_core.api.large import Pace
from kgw_core.api.partitions import find_log
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.topics.names import check_name
from kgw_core.wire.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)

NONE = -1


async def handle(request: DescribeProducersRequest, context: RequestContext) -> DescribeProducersResponse:
    """Return each partition's producers, in the order of their ids."""
    topics = []
    pace = Pace()
    for topic in request.topics:
        await pace.step()
        answers = []
        for index in topic.partition_indexes:
            answer = PartitionResponse(index)
            answers.append(answer)
            await pace.step()
            try:
                check_name(topic.name)
                log = find_log(context, topic.name, index)
                await log.open()
                answer.active_producers = [
                    ProducerState(
                        producer_id, state.epoch, state.last_sequence, state.last_timestamp, NONE, NONE
                    )
                    for producer_id, state in sorted(log.producers, key=lambda each: each[0])
                ]
            except Exception as caught:
                error = context.caught(caught, f"{topic.name}-{index}")
                answer.error_code, answer.error_message = error.code, str(error)
        topics.append(TopicResponse(topic.name, answers))
    return DescribeProducersResponse(0, topics)


def refuse(
    request: DescribeProducersRequest, error: KafkaError, context: RequestContext
) -> DescribeProducersResponse:
    """``error`` for every partition."""
    return DescribeProducersResponse(
        0,
        [
            TopicResponse(
                topic.name,
                [PartitionResponse(index, error.code, str(error)) for index in topic.partition_indexes],
            )
            for topic in request.topics
        ],
    )


API = Api("DescribeProducers", (0, 0), handle, refuse)
