from __future__ import annotations

from uuid import uuid4

from broker_kit import a_client

from kgw_core.placement import Node, Placement
from kgw_core.spi.ledger import Leader
from kgw_core.spi.storage import TopicPartition


def test_one_gateway_is_every_partitions_leader_only_replica_and_coordinator() -> None:
    placement, client = Placement(3, "rack-a"), a_client()
    tp = TopicPartition("t", uuid4(), 0)
    assert placement.controller() == 3
    assert placement.leader(tp) == Leader(3)
    assert placement.may_lead(tp) and placement.coordinates()
    assert placement.replicas(tp) == [3]
    assert placement.coordinator("group", client) == placement.nodes(client)[0]


def test_a_client_is_told_the_address_that_it_can_dial() -> None:
    assert list(Placement(3, "rack-a").nodes(a_client())) == [Node(3, "gateway.test", 9092, "rack-a")]
