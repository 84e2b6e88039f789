"""DescribeQuorum: the quorum of the cluster's metadata, which is this gateway alone.

Behaviour:
- The controller is the leader and the only voter of the single partition of ``__cluster_metadata``. There are
  no observers. Other partitions are UNKNOWN_TOPIC_OR_PARTITION; as in Kafka, one of them fails all in the
  request.
- There is no metadata log. Its end and high watermark are the version of the last commit to the gateway's own
  state (groups, committed offsets, dynamic configs), so they rise with each change.
- The controller's endpoint is the address for this client, with the name of its listener.

Versions: v1 times of the last fetch (KIP-836) · v2 directory ids, endpoints, error messages (KIP-853).
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

from kgw_core.api.large import in_steps_if_many
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError, UnknownTopicOrPartition
from kgw_core.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    DescribeQuorumResponsePartitionData,
    DescribeQuorumResponseTopicData,
    Listener,
    Node,
    ReplicaState,
)

TOPIC = "__cluster_metadata"


def handle(
    request: DescribeQuorumRequest, context: RequestContext
) -> DescribeQuorumResponse | Coroutine[Any, Any, DescribeQuorumResponse]:
    """Return the quorum of this gateway."""
    if len(request.topics) == 1 and len(request.topics[0].partitions) == 1:
        (topic,) = request.topics
        if (topic.topic_name, topic.partitions[0].partition_index) == (TOPIC, 0):
            return _quorum(context)
    error = UnknownTopicOrPartition("This server does not host this topic-partition.")
    return in_steps_if_many(_refused(request, error, context), context)


def _quorum(context: RequestContext) -> DescribeQuorumResponse:
    broker = context.broker
    end = broker.state.version
    now, leader = broker.clock.time_ms(), broker.placement.controller()
    partition = DescribeQuorumResponsePartitionData(
        partition_index=0,
        leader_id=leader,
        leader_epoch=broker.placement.controller_epoch(),
        high_watermark=end,
        current_voters=[
            ReplicaState(leader, log_end_offset=end, last_fetch_timestamp=now, last_caught_up_timestamp=now)
        ],
    )
    nodes = [
        Node(node.id, [Listener(context.client.listener, node.host, node.port)])
        for node in broker.placement.nodes(context.client)
        if node.id == leader
    ]
    return DescribeQuorumResponse(
        topics=[DescribeQuorumResponseTopicData(TOPIC, [partition])],
        nodes=nodes if context.version >= 2 else [],
    )


def _refused(
    request: DescribeQuorumRequest, error: KafkaError, context: RequestContext
) -> Generator[None, None, DescribeQuorumResponse]:
    topics = []
    for topic in request.topics:
        yield
        partitions = []
        for each in topic.partitions:
            code = context.failed(error, f"{topic.topic_name}-{each.partition_index}")
            partitions.append(DescribeQuorumResponsePartitionData(each.partition_index, code, str(error)))
            yield
        topics.append(DescribeQuorumResponseTopicData(topic.topic_name, partitions))
    return DescribeQuorumResponse(topics=topics)


def refuse(
    request: DescribeQuorumRequest, error: KafkaError, context: RequestContext
) -> DescribeQuorumResponse:
    return DescribeQuorumResponse(error_code=error.code, error_message=str(error))


API = Api("DescribeQuorum", (0, 2), handle, refuse)
