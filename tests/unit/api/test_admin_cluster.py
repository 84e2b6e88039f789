"""DescribeLogDirs, OffsetForLeaderEpoch, DescribeProducers, ElectLeaders, DescribeQuorum, and the features in
ApiVersions and UpdateFeatures: what a fresh Kafka cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from broker_kit import NOW, Kit, a_kit, batch, numbered, view
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import FencedLeaderEpoch, InvalidUpdateVersion, KafkaStorageError, UnknownLeaderEpoch
from kgw_core.features import SAFE_DOWNGRADE, UPGRADE, Feature, Features
from kgw_core.records import build_batch
from kgw_core.spi.storage import Batch, Bounds, TopicPartition
from kgw_core.testing.faults import FaultyStore
from kgw_core.wire.messages.api_versions import ApiVersionsRequest
from kgw_core.wire.messages.describe_log_dirs import DescribableLogDirTopic, DescribeLogDirsRequest
from kgw_core.wire.messages.describe_producers import DescribeProducersRequest, TopicRequest
from kgw_core.wire.messages.describe_quorum import DescribeQuorumRequest
from kgw_core.wire.messages.describe_quorum import DescribeQuorumRequestPartitionData as QuorumPartition
from kgw_core.wire.messages.describe_quorum import DescribeQuorumRequestTopicData as QuorumTopic
from kgw_core.wire.messages.elect_leaders import ElectLeadersRequest
from kgw_core.wire.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from kgw_core.wire.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest

pytestmark = pytest.mark.anyio


# -- DescribeLogDirs


async def test_a_partition_is_as_large_as_the_store_says(kit: Kit) -> None:
    log = await kit.log("t", 1)
    sent = batch("v" * 300)
    log.append(view(sent), True)
    (log_dir,) = (await kit.ask(DescribeLogDirsRequest([DescribableLogDirTopic("t", [1, 0])]), 4)).results
    sizes = {each.partition_index: each.partition_size for each in log_dir.topics[0].partitions}
    assert sizes == {0: 0, 1: len(sent)}
    assert (log_dir.log_dir, log_dir.total_bytes, log_dir.usable_bytes) == ("/kgw/memory", -1, -1)


async def test_all_partitions_are_measured_a_few_at_a_time(kit: Kit) -> None:
    await kit.topic("a", 150)
    await kit.topic("b", 3)
    (log_dir,) = (await kit.ask(DescribeLogDirsRequest(None), 1)).results
    assert [(topic.name, len(topic.partitions)) for topic in log_dir.topics] == [("a", 150), ("b", 3)]


async def test_a_store_that_fails_makes_the_log_dir_fail() -> None:
    store = FaultyStore(MemoryStore())
    kit = await a_kit(store)
    await kit.topic("t", 3)
    store.fail("bounds", RuntimeError("disk"))
    (log_dir,) = (await kit.ask(DescribeLogDirsRequest(None), 5)).results
    assert (log_dir.error_code, log_dir.topics) == (KafkaStorageError.code, [])
    await kit.close()


# -- OffsetForLeaderEpoch


class EpochStore(MemoryStore):
    """A memory store whose logs are led in epoch 7."""

    async def bounds(self, tp: TopicPartition) -> Bounds:
        return (await super().bounds(tp))._replace(epoch=7)


async def led(spans: Sequence[tuple[int, int]]) -> Kit:
    """A kit whose topic t has a batch for each (epoch, records)."""
    kit = await a_kit(EpochStore())
    state = await kit.topic("t")
    base = 0
    for epoch, span in spans:
        data = build_batch([(b"k", b"v", NOW)] * span, base_offset=base, leader_epoch=epoch)
        await kit.store.append(state.partitions[0].tp, [Batch(base, span, NOW, bytes(data))])
        base += span
    return kit


async def ends(kit: Kit, *epochs: int, current: int = -1, version: int = 4) -> list[tuple[int, int, int]]:
    partitions = [OffsetForLeaderPartition(0, current, epoch) for epoch in epochs]
    request = OffsetForLeaderEpochRequest(-1, [OffsetForLeaderTopic("t", partitions)])
    answer: Any = await kit.ask(request, version)
    return [(each.error_code, each.leader_epoch, each.end_offset) for each in answer.topics[0].partitions]


async def test_an_older_epoch_ends_where_the_next_one_begins() -> None:
    kit = await led([(1, 2), (1, 3), (3, 1), (3, 1), (3, 4), (6, 2), (7, 5)])
    assert await ends(kit, 1, 3, 6) == [(0, 1, 5), (0, 3, 11), (0, 6, 13)]
    assert await ends(kit, 2, 5) == [(0, 1, 5), (0, 3, 11)], "of an epoch without records the one before"
    assert await ends(kit, 7, 8, -1) == [(0, 7, 18), (0, -1, -1), (0, -1, -1)]
    await kit.close()


async def test_an_epoch_older_than_all_that_is_left_ends_at_the_start() -> None:
    kit = await led([(1, 2), (3, 2), (6, 4), (6, 4)])
    log = await kit.log("t")
    await log.trim(6)
    assert await ends(kit, 1, 3) == [(0, 1, 6), (0, 3, 6)]
    assert await ends(kit, 6) == [(0, 6, 12)], "nothing was written in epoch 7 yet"
    await kit.close()


async def test_a_long_log_is_searched_not_read() -> None:
    kit = await led([(epoch // 100, 1) for epoch in range(700)])
    reads = []
    read = kit.store.read

    async def counting(tp: TopicPartition, offset: int, max_bytes: int) -> Any:
        reads.append(offset)
        return await read(tp, offset, max_bytes)

    await kit.log("t")
    kit.store.read = counting  # type: ignore[method-assign]
    assert await ends(kit, 3) == [(0, 3, 400)]
    assert len(reads) < 15
    await kit.close()


async def test_a_client_in_another_epoch_is_told_so() -> None:
    kit = await led([(7, 1)])
    assert await ends(kit, 7, current=6) == [(FencedLeaderEpoch.code, -1, -1)]
    assert await ends(kit, 7, current=8) == [(UnknownLeaderEpoch.code, -1, -1)]
    assert await ends(kit, 7, current=7) == [(0, 7, 1)]
    await kit.close()


async def test_version_0_has_the_offset_only() -> None:
    kit = await led([(1, 2), (7, 1)])
    assert await ends(kit, 1, version=0) == [(0, -1, 2)]
    assert await ends(kit, 1, version=1) == [(0, 1, 2)]
    await kit.close()


# -- DescribeProducers


async def test_producers_are_told_as_the_log_remembers_them(kit: Kit) -> None:
    log = await kit.log("t")
    log.append(view(numbered(9, 0, 3)), True)
    await kit.clock.advance(5)
    log.append(view(numbered(4, 0, 2, epoch=1)), True)
    log.append(view(batch("no producer")), True)
    answer = await kit.ask(DescribeProducersRequest([TopicRequest("t", [0])]), 0)
    assert [
        (each.producer_id, each.producer_epoch, each.last_sequence, each.last_timestamp)
        for each in answer.topics[0].partitions[0].active_producers
    ] == [(4, 1, 1, NOW + 5000), (9, 0, 2, NOW)]


async def test_producers_are_known_after_a_restart(kit: Kit) -> None:
    log = await kit.log("t")
    log.append(view(numbered(9, 0, 3)), True)
    again = await a_kit(kit.store)
    answer = await again.ask(DescribeProducersRequest([TopicRequest("t", [0])]), 0)
    (producer,) = answer.topics[0].partitions[0].active_producers
    assert (producer.producer_id, producer.last_sequence, producer.last_timestamp) == (9, 2, NOW)
    await again.close()


# -- ElectLeaders


async def test_an_election_of_all_touches_nothing(kit: Kit) -> None:
    await kit.topic("t", 2)
    answer = await kit.ask(ElectLeadersRequest(0, None), 2)
    assert [(each.topic, each.partition_result) for each in answer.replica_election_results] == [("t", [])]


# -- DescribeQuorum

QUORUM = DescribeQuorumRequest([QuorumTopic("__cluster_metadata", [QuorumPartition(0)])])


async def test_the_gateway_is_the_quorum_and_its_state_the_log(kit: Kit) -> None:
    versions = []
    for _ in range(2):
        versions.append(await kit.state.commit({b"a/key": b"value"}))
        answer = await kit.ask(QUORUM, 2)
        (partition,) = answer.topics[0].partitions
        (voter,) = partition.current_voters
        assert (answer.error_code, partition.error_code, partition.observers) == (0, 0, [])
        assert (partition.leader_id, voter.replica_id) == (1, 1)
        assert partition.high_watermark == voter.log_end_offset == versions[-1]
        assert voter.last_fetch_timestamp == voter.last_caught_up_timestamp == kit.clock.time_ms()
        (node,) = answer.nodes
        (endpoint,) = node.listeners
        assert (node.node_id, endpoint.name, endpoint.host, endpoint.port) == (
            1, "PLAINTEXT", "gateway.test", 9092,
        )  # fmt: skip
    assert versions[0] < versions[1]


async def test_the_quorum_is_told_whatever_the_state_does(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    version = await kit.state.commit({b"a/key": b"value"})

    async def fail(*_: Any) -> int:
        raise KafkaStorageError("disk")

    monkeypatch.setattr(kit.state.inner, "commit", fail)
    answer = await kit.ask(QUORUM, 2)
    assert answer.topics[0].partitions[0].high_watermark == version


# -- features

TABLE = (Feature("old", 1, 3, 2), Feature("off", 0, 1, 0), Feature("on", 0, 2, 2))


async def test_features_are_told_with_their_ranges_and_levels(kit: Kit) -> None:
    kit.broker.features = Features(77, TABLE)
    answer = await kit.ask(ApiVersionsRequest("tester", "1"), 4)
    assert [(each.name, each.min_version, each.max_version) for each in answer.supported_features] == [
        ("old", 1, 3),
        ("off", 0, 1),
        ("on", 0, 2),
    ]
    levels = [
        (each.name, each.min_version_level, each.max_version_level) for each in answer.finalized_features
    ]
    assert levels == [("old", 2, 2), ("on", 2, 2)], "level 0 is not in force"
    assert answer.finalized_features_epoch == 77


async def test_a_feature_that_may_be_at_level_0_is_not_told_to_clients_that_cannot_read_it(kit: Kit) -> None:
    """KAFKA-17492: they take a lowest level of 0 for an error."""
    kit.broker.features = Features(77, TABLE)
    answer = await kit.ask(ApiVersionsRequest("tester", "1"), 3)
    assert [each.name for each in answer.supported_features] == ["old"]


async def test_no_feature_is_told_that_is_not_built(kit: Kit) -> None:
    answer = await kit.ask(ApiVersionsRequest("tester", "1"), 4)
    assert (answer.supported_features, answer.finalized_features) == ([], [])
    assert answer.finalized_features_epoch >= 0, "-1 would mean that they are not known"


@pytest.mark.parametrize(
    ("name", "level", "kind", "refused"),
    [
        ("old", 2, UPGRADE, None),
        ("old", 2, SAFE_DOWNGRADE, None),
        ("off", 0, UPGRADE, None),
        ("old", 3, UPGRADE, "Its level does not change while the gateway runs."),
        ("old", 1, SAFE_DOWNGRADE, "Its level does not change while the gateway runs."),
        ("old", 1, UPGRADE, "Can't downgrade the version of this feature without"),
        ("old", 3, SAFE_DOWNGRADE, "Can't downgrade to a newer version."),
        ("old", 4, UPGRADE, "This gateway only supports versions 1-3"),
        ("old", 0, SAFE_DOWNGRADE, "This gateway only supports versions 1-3"),
        ("none", 1, UPGRADE, "This gateway does not support this feature."),
        ("none", 0, UPGRADE, "Feature none not found."),
        ("old", -1, UPGRADE, "A feature version cannot be less than 0."),
        ("old", 2, 4, "The controller does not support the given upgrade type."),
    ],
)
@pytest.mark.parametrize("validate_only", [True, False])
async def test_a_level_is_updated_only_to_what_it_is(
    kit: Kit, name: str, level: int, kind: int, refused: str | None, validate_only: bool
) -> None:
    kit.broker.features = Features(77, TABLE)
    updates = [FeatureUpdateKey("on", 2), FeatureUpdateKey(name, level, upgrade_type=kind)]
    answer = await kit.ask(UpdateFeaturesRequest(1000, updates, validate_only), 1)
    if refused is None:
        assert (answer.error_code, answer.error_message) == (0, None)
        assert [(each.feature, each.error_code) for each in answer.results] == [("on", 0), (name, 0)]
    else:
        assert (answer.error_code, answer.results) == (InvalidUpdateVersion.code, [])
        assert f"Invalid update version {level} for feature {name}. {refused}" in answer.error_message
