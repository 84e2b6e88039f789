"""The brokers of the cluster, the leaders of partitions and the coordinators of groups.

With one gateway it is always itself. Handlers ask here, so that several gateways can share a cluster later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kgw_core.events import Client
from kgw_core.spi.storage import TopicPartition


class Node(NamedTuple):
    """A broker with its address on the client's listener."""

    id: int
    host: str
    port: int
    rack: str | None


class Placement:
    """The placement of a cluster of one gateway."""

    def __init__(self, node_id: int, rack: str | None = None) -> None:
        self.node_id = node_id
        self.rack = rack

    def nodes(self, client: Client) -> Sequence[Node]:
        """The brokers of the cluster, with the addresses for this client."""
        host, port = client.advertised
        return (Node(self.node_id, host, port, self.rack),)

    def controller(self) -> int:
        """The node id of the controller."""
        return self.node_id

    def controller_epoch(self) -> int:
        """The controller's epoch: 0, as there is no other controller."""
        return 0

    def leader(self, tp: TopicPartition) -> int:
        """Node id of the partition's leader."""
        return self.node_id

    def replicas(self, tp: TopicPartition) -> list[int]:
        """The node ids of the partition's replicas, the leader first. All are in sync."""
        return [self.node_id]

    def coordinator(self, key: str, client: Client) -> Node:
        """The broker that coordinates the group or transactional id ``key``."""
        return self.nodes(client)[0]
