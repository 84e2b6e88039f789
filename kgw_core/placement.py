"""Who leads a partition, who coordinates a group or a transaction, and which brokers there are.

With one gateway the answer is always itself. No handler says so by a constant: it asks here, so that
several gateways can share a cluster one day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kgw_core.events import Client
from kgw_core.spi.storage import TopicPartition


class Node(NamedTuple):
    """A broker as a client on some listener is told of it."""

    id: int
    host: str
    port: int
    rack: str | None


class Placement:
    """One gateway, alone."""

    def __init__(self, node_id: int, rack: str | None = None) -> None:
        self.node_id = node_id
        self.rack = rack

    def nodes(self, client: Client) -> Sequence[Node]:
        """The brokers of the cluster, at the addresses that this client can dial."""
        host, port = client.advertised
        return (Node(self.node_id, host, port, self.rack),)

    def controller(self) -> int:
        """Node id of the broker that takes topic changes."""
        return self.node_id

    def controller_epoch(self) -> int:
        """How often another one has become controller: never, as nobody else can."""
        return 0

    def leader(self, tp: TopicPartition) -> int:
        """Node id of the partition's leader."""
        return self.node_id

    def replicas(self, tp: TopicPartition) -> list[int]:
        """Node ids of those that keep the partition, the leader first; all of them in sync."""
        return [self.node_id]

    def coordinator(self, key: str, client: Client) -> Node:
        """The broker that coordinates the group or transactional id ``key``."""
        return self.nodes(client)[0]
