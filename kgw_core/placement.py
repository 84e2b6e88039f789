"""The brokers of the cluster, the leaders of partitions and the coordinators of groups.

The ledger knows the leaders. If several gateways share their logs, a partition without a leader is assigned
to one of the live brokers. Only that broker may lead it, and until it does, there is no leader. A single
gateway leads and coordinates everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kgw_core.errors import CoordinatorNotAvailable, NotLeaderOrFollower
from kgw_core.events import Client
from kgw_core.spi.ledger import Leader, OffsetLedger
from kgw_core.spi.storage import TopicPartition

if TYPE_CHECKING:
    from kgw_core.registration import Registrations


class Node(NamedTuple):
    """A broker with its address on the client's listener."""

    id: int
    host: str
    port: int
    rack: str | None


class Placement:
    """The placement as this gateway sees it. ``registrations`` is None if it is the only gateway."""

    def __init__(
        self,
        node_id: int,
        rack: str | None = None,
        ledger: OffsetLedger | None = None,
        registrations: Registrations | None = None,
    ) -> None:
        self.node_id = node_id
        self.rack = rack
        self._self = Leader(node_id)
        self._ledger = ledger
        self._registrations = registrations

    # -- brokers

    def nodes(self, client: Client) -> Sequence[Node]:
        """The brokers of the cluster with the addresses for this client, sorted by id."""
        own = Node(self.node_id, *client.advertised, self.rack)
        if self._registrations is None or not self._registrations.others:
            return (own,)
        others = [
            Node(each.node_id, *each.listeners[client.listener], each.rack)
            for each in self._registrations.others.values()
            if client.listener in each.listeners
        ]
        return sorted([own, *others])

    def controller(self) -> int:
        """The node id of the controller, or -1 if it is unknown. Every broker accepts topic changes."""
        if self._registrations is None:
            return self.node_id
        controller = self._registrations.controller
        return -1 if controller is None else controller

    def controller_epoch(self) -> int:
        """The controller's epoch: always 0, as every broker accepts changes."""
        return 0

    # -- partitions

    def leader(self, tp: TopicPartition) -> Leader | None:
        """The leader of the partition and its epoch (-1: unknown); None if no live broker leads it."""
        if self._ledger is None:
            return self._self
        leader = self._ledger.leader(tp)
        if self._registrations is None:
            return leader or self._self
        if leader is None or leader.node_id == self.node_id or leader.node_id in self._registrations.others:
            return leader
        return None

    def replicas(self, tp: TopicPartition) -> list[int]:
        """The node ids of the replicas. All gateways share one store, so there is one: the leader."""
        if self._ledger is not None and self._registrations is not None:
            leader = self._ledger.leader(tp)
            return [leader.node_id if leader is not None else self._assigned(tp)]
        return [self.node_id]

    def may_lead(self, tp: TopicPartition) -> bool:
        """Whether this gateway leads the partition, or nobody does and the partition is assigned to it."""
        if self._ledger is None:
            return True
        leader = self._ledger.leader(tp)
        if leader is None:
            return self._assigned(tp) == self.node_id
        return leader.node_id == self.node_id

    def check_leads(self, tp: TopicPartition) -> None:
        """Return if :meth:`may_lead`. :raises NotLeaderOrFollower: it may not; the message names the
        leader."""
        if not self.may_lead(tp):
            leader = self.leader(tp)
            name = f"node {leader.node_id}" if leader is not None else "another broker"
            raise NotLeaderOrFollower(f"{tp} is led by {name}")

    def is_vacant(self, tp: TopicPartition) -> bool:
        """Whether nobody leads the partition, and it is assigned to this gateway."""
        return (
            self._ledger is not None
            and self._ledger.leader(tp) is None
            and self._assigned(tp) == self.node_id
        )

    def _assigned(self, tp: TopicPartition) -> int:
        """The live broker to which a partition is assigned (rendezvous hashing)."""
        if self._registrations is None or not self._registrations.others:
            return self.node_id
        from hashlib import blake2b  # a single gateway does not need it

        key = tp.topic_id.bytes + tp.partition.to_bytes(4, "big")
        return max(
            (self.node_id, *self._registrations.others),
            key=lambda node_id: blake2b(key, digest_size=8, salt=node_id.to_bytes(8, "big")).digest(),
        )

    # -- groups

    def coordinates(self) -> bool:
        """Whether this gateway coordinates the groups."""
        return self._registrations is None or self._registrations.controller == self.node_id

    def coordinator(self, key: str, client: Client) -> Node:
        """The coordinator of the group or transactional id ``key``: always the controller.

        :raises CoordinatorNotAvailable: there is no controller now, or it has no address for this client.
        """
        controller = self.controller()
        for node in self.nodes(client):
            if node.id == controller:
                return node
        raise CoordinatorNotAvailable(f"no broker coordinates groups on listener {client.listener} now")
