"""The answers about partitions that another gateway leads, or nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from broker_kit import Kit, SlowStore, a_kit, batch, numbered, turns, view, waiting

from kgw_core import errors
from kgw_core.log.leading import Leading
from kgw_core.log.ledger import CountingLedger
from kgw_core.placement import Placement
from kgw_core.registration import Registration, Registrations
from kgw_core.spi.ledger import Leader, Leadership, NotLeader
from kgw_core.spi.storage import Fenced, TopicPartition
from kgw_core.state.memory import MemoryStateStore
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from kgw_core.wire.messages.describe_producers import DescribeProducersRequest, TopicRequest
from kgw_core.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
)
from kgw_core.wire.messages.describe_topic_partitions import TopicRequest as DescribedTopic
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.find_coordinator import FindCoordinatorRequest
from kgw_core.wire.messages.list_groups import ListGroupsRequest
from kgw_core.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from kgw_core.wire.messages.metadata import MetadataRequest
from kgw_core.wire.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

pytestmark = pytest.mark.anyio

NOT_LEADER = errors.NotLeaderOrFollower.code
ELSEWHERE = Leader(2, 7)


class Ledger(CountingLedger):
    """``leaders``: who leads; None: nobody does. Logs without an entry are this gateway's."""

    shared = True

    def __init__(self) -> None:
        super().__init__()
        self.leaders: dict[int, Leader | None] = {}

    def leader(self, tp: TopicPartition) -> Leader | None:  # type: ignore[override]
        return self.leaders.get(tp.partition, super().leader(tp))

    async def lead(self, tp: TopicPartition) -> Leadership:
        found = self.leader(tp)
        if found is not None and found.node_id != 1:
            raise NotLeader(tp, found)
        return await super().lead(tp)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def kit(ledger: Ledger) -> AsyncIterator[Kit]:
    """Partition 0 is led here, 1 by node 2; 2 by node 3, which is gone."""
    made = await a_kit(ledger=ledger)
    registrations = Registrations(MemoryStateStore(), made.logs.background, 1, None, 9.0)
    await registrations.register({"PLAINTEXT": ("gateway.test", 9092)})
    registrations.others = {2: Registration(2, {"PLAINTEXT": ("other.test", 9093)}, "r2", "x", 1 << 40)}
    made.broker.placement = Placement(1, None, ledger, registrations)
    made.logs.may_lead = made.broker.placement.may_lead
    await made.topic(partitions=3)
    ledger.leaders.update({1: ELSEWHERE, 2: Leader(3, 4)})
    yield made
    await made.close()


async def test_metadata_names_the_leader_its_epoch_and_its_address(kit: Kit) -> None:
    answer = await kit.ask(MetadataRequest(None), 12)
    assert [(each.node_id, each.host, each.port) for each in answer.brokers] == [
        (1, "gateway.test", 9092),
        (2, "other.test", 9093),
    ]
    [topic] = answer.topics
    told = [
        (each.error_code, each.leader_id, each.leader_epoch, each.isr_nodes, each.offline_replicas)
        for each in topic.partitions
    ]
    gone = errors.LeaderNotAvailable.code
    assert told == [(0, 1, 0, [1], []), (0, 2, 7, [2], []), (gone, -1, -1, [], [3])]
    described = await kit.ask(DescribeTopicPartitionsRequest([DescribedTopic("t")]), 0)
    told = [
        (each.error_code, each.leader_id, each.leader_epoch, each.isr_nodes, each.offline_replicas)
        for each in described.topics[0].partitions
    ]
    assert told == [(0, 1, 0, [1], []), (0, 2, 7, [2], []), (gone, -1, -1, [], [3])]


@pytest.mark.parametrize("version", [9, 13])
async def test_produce(kit: Kit, version: int) -> None:
    state = kit.catalog.by_name["t"]
    parts = [PartitionProduceData(index, batch("a")) for index in range(3)]
    topic = TopicProduceData("" if version >= 13 else "t", state.id_bytes, parts)
    answer = await kit.ask(ProduceRequest(None, -1, 1000, [topic]), version)
    answers = answer.responses[0].partition_responses
    told = [(each.error_code, each.base_offset) for each in answers]
    assert told == [(0, 0), (NOT_LEADER, -1), (NOT_LEADER, -1)]
    if version >= 10:
        leader = answers[1].current_leader
        assert (leader.leader_id, leader.leader_epoch) == (2, 7)
        assert answers[0].current_leader is None
        [endpoint] = answer.node_endpoints
        assert (endpoint.node_id, endpoint.host, endpoint.port) == (2, "other.test", 9093)


async def produced(kit: Kit, sequence: int) -> int:
    """The error of a Produce of producer 7 to partition 1."""
    parts = [PartitionProduceData(1, numbered(7, sequence))]
    request = ProduceRequest(None, -1, 1000, [TopicProduceData("t", ZERO_UUID, parts)])
    [part] = (await kit.ask(request, 9)).responses[0].partition_responses
    return int(part.error_code)


async def test_what_follows_a_batch_that_another_one_took_is_taken(kit: Kit, ledger: Ledger) -> None:
    """The producer has sent it there, and comes here with what follows when this gateway leads."""
    assert await produced(kit, 0) == NOT_LEADER
    other = await (await a_kit(kit.store)).log(partition=1)
    other.append(view(numbered(7, 0)), False)
    ledger.leaders[1] = Leader(1, 8)
    assert await produced(kit, 1) == 0


async def test_what_was_sent_behind_a_refused_batch_is_not_taken_before_it(kit: Kit, ledger: Ledger) -> None:
    """Several were in flight, and between two of them this gateway became the leader: a client would take the
    answer to the second as one to both."""
    assert await produced(kit, 0) == NOT_LEADER
    ledger.leaders[1] = Leader(1, 8)
    not_yet = errors.KafkaStorageError.code
    assert [await produced(kit, sequence) for sequence in (1, 0, 1)] == [not_yet, 0, 0]


async def test_a_produce_that_waits_is_told_who_leads_now(ledger: Ledger) -> None:
    """Its append was refused by a fence."""
    store = SlowStore()
    kit = await a_kit(store, ledger=ledger)
    kit.start_writers()
    registrations = Registrations(MemoryStateStore(), kit.logs.background, 1, None, 9.0)
    registrations.others = {2: Registration(2, {"PLAINTEXT": ("other.test", 9093)}, "r2", "x", 1)}
    kit.broker.placement = Placement(1, None, ledger, registrations)
    log = await kit.log()
    request = ProduceRequest(
        None, -1, 1000, [TopicProduceData("t", ZERO_UUID, [PartitionProduceData(0, batch("a"))])]
    )
    pending = waiting(kit.start(request, 10))
    held = await store.arrived()
    ledger.leaders[0] = ELSEWHERE
    held.fail(Fenced(log.tp, 7))
    await turns()
    answer = kit.decode(pending.result(), request, 10)
    [part] = answer.responses[0].partition_responses
    assert (part.error_code, part.current_leader.leader_id, part.current_leader.leader_epoch) == (
        NOT_LEADER,
        2,
        7,
    )
    assert [endpoint.node_id for endpoint in answer.node_endpoints] == [2]
    await kit.close()


def fetch(kit: Kit, version: int, *indexes: int, wait_ms: int = 10_000) -> FetchRequest:
    state = kit.catalog.by_name["t"]
    parts = [FetchPartition(index, partition_max_bytes=1 << 20) for index in indexes]
    by_id = version >= 13
    topic = FetchTopic("" if by_id else "t", state.id_bytes if by_id else ZERO_UUID, parts)
    return FetchRequest(max_wait_ms=wait_ms, min_bytes=1, max_bytes=1 << 20, topics=[topic])


@pytest.mark.parametrize("version", [12, 17])
async def test_fetch_is_answered_at_once_and_says_where_to_go(kit: Kit, version: int) -> None:
    """Though another partition could be waited for."""
    answer = await kit.ask(fetch(kit, version, 0, 1), version)
    found = {each.partition_index: each for each in answer.responses[0].partitions}
    assert (found[0].error_code, found[1].error_code) == (0, NOT_LEADER)
    if version >= 16:
        leader = found[1].current_leader
        assert (leader.leader_id, leader.leader_epoch) == (2, 7)
        [endpoint] = answer.node_endpoints
        assert (endpoint.node_id, endpoint.host, endpoint.port) == (2, "other.test", 9093)


async def test_a_fetch_that_waits_is_told_when_its_partition_is_lost(kit: Kit, ledger: Ledger) -> None:
    log = await kit.log()
    pending = waiting(kit.start(fetch(kit, 17, 0), 17))
    ledger.leaders[0] = ELSEWHERE
    kit.events.lost(log.tp, 7)
    await turns()
    assert pending.done
    answer = kit.decode(pending.result(), fetch(kit, 17, 0), 17)
    assert answer.responses[0].partitions[0].error_code == NOT_LEADER


async def test_list_offsets_and_all_others_that_ask_a_log(kit: Kit) -> None:
    offsets = ListOffsetsRequest(
        -1, 0, [ListOffsetsTopic("t", [ListOffsetsPartition(index, -1, -1) for index in range(3)])]
    )
    answer = await kit.ask(offsets, 5)
    assert [each.error_code for each in answer.topics[0].partitions] == [0, NOT_LEADER, NOT_LEADER]
    epochs = OffsetForLeaderEpochRequest(
        -1, [OffsetForLeaderTopic("t", [OffsetForLeaderPartition(index, -1, 0) for index in range(2)])]
    )
    answer = await kit.ask(epochs, 4)
    assert [each.error_code for each in answer.topics[0].partitions] == [0, NOT_LEADER]
    deletion = DeleteRecordsRequest(
        [DeleteRecordsTopic("t", [DeleteRecordsPartition(index, 0) for index in range(2)])], 1000
    )
    answer = await kit.ask(deletion, 2)
    assert [each.error_code for each in answer.topics[0].partitions] == [0, NOT_LEADER]
    answer = await kit.ask(DescribeProducersRequest([TopicRequest("t", [0, 1])]), 0)
    assert [each.error_code for each in answer.topics[0].partitions] == [0, NOT_LEADER]


async def test_what_nobody_leads_is_led_where_it_is_assigned(kit: Kit, ledger: Ledger) -> None:
    """Asked elsewhere, it is not."""
    placement = kit.broker.placement
    await kit.topic("many", 40)
    ledger.leaders.update(dict.fromkeys(range(40)))
    mine = [log for log in kit.catalog.by_name["many"].partitions if placement.is_vacant(log.tp)]
    assert 0 < len(mine) < 40
    parts = [PartitionProduceData(index, batch("a")) for index in range(40)]
    answer = await kit.ask(ProduceRequest(None, -1, 1000, [TopicProduceData("many", ZERO_UUID, parts)]), 9)
    taken = [each.index for each in answer.responses[0].partition_responses if each.error_code == 0]
    assert taken == [log.tp.partition for log in mine]
    refused = {each.error_code for each in answer.responses[0].partition_responses if each.error_code}
    assert refused == {NOT_LEADER}


async def test_upkeep_leaves_alone_what_others_lead(kit: Kit, ledger: Ledger, monkeypatch: Any) -> None:
    """They see to retention and compaction of it themselves."""
    looked: list[int] = []

    async def look(log: Any) -> None:
        looked.append(log.tp.partition)

    monkeypatch.setattr(kit.logs.retention, "_check_log", look)
    await kit.logs.retention.check()
    assert looked == [0]


async def test_a_log_that_is_lost_while_another_is_read_ends_the_fetch_at_once(ledger: Ledger) -> None:
    """Nothing tells the fetch, which does not wait yet."""
    store = SlowStore()
    store.patient = False
    kit = await a_kit(store, ledger=ledger)
    kit.start_writers()
    logs = (await kit.topic(partitions=2)).partitions
    for log in logs:
        await log.open()
    logs[1].append(view(batch("a")), False)
    await turns()
    kit.broker.placement = Placement(1, None, ledger)
    go = store.hold("read")
    request = FetchRequest(
        max_wait_ms=60_000,
        min_bytes=1 << 20,
        max_bytes=1 << 20,
        topics=[FetchTopic("t", ZERO_UUID, [FetchPartition(index, -1, 0) for index in (0, 1)])],
    )
    for each in request.topics[0].partitions:
        each.partition_max_bytes = 1 << 20
    answer = kit.start(request, 11)
    await turns()
    ledger.leaders[0] = ELSEWHERE
    kit.events.lost(logs[0].tp, 7)
    go.set()
    await turns()
    assert answer.done  # type: ignore[union-attr]
    response = kit.decode(answer.result(), request, 11)  # type: ignore[union-attr]
    assert [each.error_code for each in response.responses[0].partitions] == [NOT_LEADER, 0]
    await kit.close()


class TestGroups:
    async def test_the_controller_coordinates_them(self, kit: Kit) -> None:
        answer = await kit.ask(FindCoordinatorRequest(key_type=0, coordinator_keys=["g"]), 4)
        [found] = answer.coordinators
        assert (found.error_code, found.node_id, found.host, found.port) == (0, 1, "gateway.test", 9092)
        registrations = kit.broker.placement._registrations
        assert registrations is not None
        registrations.others = {
            2: Registration(2, {"PLAINTEXT": ("other.test", 9093)}, None, "x", -1)  # before this one
        }
        answer = await kit.ask(FindCoordinatorRequest(key_type=0, coordinator_keys=["g"]), 4)
        [found] = answer.coordinators
        assert (found.error_code, found.node_id, found.host, found.port) == (0, 2, "other.test", 9093)

    async def test_another_one_refuses_and_lists_none(self, kit: Kit) -> None:
        groups = kit.broker.groups
        groups.coordinates(False)
        with pytest.raises(errors.NotCoordinator):
            groups.find("g")
        with pytest.raises(errors.NotCoordinator):
            groups.commit("g", -1, "", None, [])
        answer = await kit.ask(ListGroupsRequest(), 4)
        assert (answer.error_code, answer.groups) == (0, [])
        groups.coordinates(True)
        await turns()
        with pytest.raises(errors.GroupIdNotFound):
            groups.find("g")


class TestResigning:
    async def test_leaderships_of_closed_logs_are_resigned_and_nothing_is_led_after_that(
        self, kit: Kit, ledger: Ledger, monkeypatch: Any
    ) -> None:
        """The log was closed by a failed append, or is being opened: the ledger leads it all the same."""
        resigned: list[tuple[int, int]] = []

        async def resign(tp: TopicPartition, epoch: int) -> None:
            ledger.leaders[tp.partition] = None
            resigned.append((tp.partition, epoch))

        monkeypatch.setattr(ledger, "resign", resign)
        logs = kit.catalog.by_name["t"].partitions
        ledger.leaders = {1: ELSEWHERE, 2: Leader(1, 4)}
        leading = Leading(kit.logs, kit.broker.placement)
        logs[0].ready = True
        logs[0].leader_epoch = 9
        await leading.resign()
        assert sorted(resigned) == [(0, 9), (2, 4)]
        leading.due()
        for log in (logs[0], logs[2]):
            with pytest.raises(errors.NotLeaderOrFollower):
                await log.open()
