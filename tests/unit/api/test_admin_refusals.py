"""The answers of the admin APIs to a request that fails as a whole, in every version."""

from __future__ import annotations

import re
from typing import Any

import pytest
from broker_kit import Kit, api_of

from kgw_core import wire
from kgw_core.api import registry
from kgw_core.broker import RequestContext
from kgw_core.errors import ClusterAuthorizationFailed
from kgw_core.wire.base import Message
from kgw_core.wire.messages import (
    alter_configs,
    alter_partition_reassignments,
    alter_replica_log_dirs,
    create_partitions,
    delete_records,
    describe_configs,
    describe_log_dirs,
    describe_producers,
    describe_quorum,
    describe_topic_partitions,
    elect_leaders,
    incremental_alter_configs,
    list_config_resources,
    list_partition_reassignments,
    offset_for_leader_epoch,
    update_features,
)

REQUESTS: list[Message] = [
    alter_configs.AlterConfigsRequest([alter_configs.AlterConfigsResource(2, "t")]),
    alter_partition_reassignments.AlterPartitionReassignmentsRequest(),
    alter_replica_log_dirs.AlterReplicaLogDirsRequest(
        [
            alter_replica_log_dirs.AlterReplicaLogDir(
                "/d", [alter_replica_log_dirs.AlterReplicaLogDirTopic("t", [0])]
            )
        ]
    ),
    create_partitions.CreatePartitionsRequest([create_partitions.CreatePartitionsTopic("t", 3)]),
    delete_records.DeleteRecordsRequest(
        [delete_records.DeleteRecordsTopic("t", [delete_records.DeleteRecordsPartition(0, 1)])]
    ),
    describe_configs.DescribeConfigsRequest([describe_configs.DescribeConfigsResource(2, "t", None)]),
    describe_log_dirs.DescribeLogDirsRequest(None),
    describe_producers.DescribeProducersRequest([describe_producers.TopicRequest("t", [0])]),
    describe_quorum.DescribeQuorumRequest(),
    describe_topic_partitions.DescribeTopicPartitionsRequest([describe_topic_partitions.TopicRequest("t")]),
    elect_leaders.ElectLeadersRequest(0, [elect_leaders.TopicPartitions("t", [0])]),
    incremental_alter_configs.IncrementalAlterConfigsRequest(
        [incremental_alter_configs.AlterConfigsResource(2, "t")]
    ),
    list_config_resources.ListConfigResourcesRequest(),
    list_partition_reassignments.ListPartitionReassignmentsRequest(),
    offset_for_leader_epoch.OffsetForLeaderEpochRequest(
        -1,
        [
            offset_for_leader_epoch.OffsetForLeaderTopic(
                "t", [offset_for_leader_epoch.OffsetForLeaderPartition(0)]
            )
        ],
    ),
    update_features.UpdateFeaturesRequest(),
]
CASES = [
    pytest.param(request, version, id=f"{type(request).__name__.removesuffix('Request')} v{version}")
    for request in REQUESTS
    for version in range(api_of(request).min_version, api_of(request).latest_stable + 1)
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_all_stable_versions_are_served(request_: Message) -> None:
    known = api_of(request_)
    assert registry.load()[known.key].versions == (known.min_version, known.latest_stable)


@pytest.mark.anyio
@pytest.mark.parametrize(("request_", "version"), CASES)
async def test_a_refusal_can_be_encoded_and_carries_the_error(
    kit: Kit, request_: Message, version: int
) -> None:
    api = registry.load()[api_of(request_).key]
    context = RequestContext(kit.broker, kit.client, api.name, version)
    error = ClusterAuthorizationFailed("not you: " + "\U0001f600" * 40_000)
    encoded = wire.encode(api.refuse(request_, error, context), version)
    answer: Any = wire.decode(wire.message(f"{api.name}Response"), version, encoded)
    assert f"error_code={error.code}" in repr(answer)


@pytest.mark.anyio
@pytest.mark.parametrize(("request_", "version"), CASES)
async def test_an_empty_request_is_answered(kit: Kit, request_: Message, version: int) -> None:
    answer = await kit.ask(type(request_)(), version)
    assert not re.search(r"error_code=[^0]", repr(answer))
