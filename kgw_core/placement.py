"""The brokers of the cluster, the leaders of partitions and the coordinators of groups.

The ledger says who leads. Where several gateways share their logs, a partition without a leader is assigned
to one of the live brokers. Only that one leads it, and until it does, no leader is named. A single gateway
is everything itself.
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
    """``registrations``: None where this gateway is alone."""

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
        """The brokers of the cluster, at the addresses that this client can dial; by id."""
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
        """Node id of the broker that is told as controller; each takes topic changes. -1: not known."""
        if self._registrations is None:
            return self.node_id
        controller = self._registrations.controller
        return -1 if controller is None else controller

    def controller_epoch(self) -> int:
        """How often another one has become controller: not counted, as each broker takes changes."""
        return 0

    # -- partitions

    def leader(self, tp: TopicPartition) -> Leader | None:
        """Who leads the partition, in which epoch (-1: not known); None: nobody that lives."""
        if self._ledger is None:
            return self._self
        leader = self._ledger.leader(tp)
        if self._registrations is None:
            return leader or self._self
        if leader is None or leader.node_id == self.node_id or leader.node_id in self._registrations.others:
            return leader
        return None

    def replicas(self, tp: TopicPartition) -> list[int]:
        """Node ids of those that keep the partition, the leader first: all gateways on one store are one."""
        if self._ledger is not None and self._registrations is not None:
            leader = self._ledger.leader(tp)
            return [leader.node_id if leader is not None else self._assigned(tp)]
        return [self.node_id]

    def may_lead(self, tp: TopicPartition) -> bool:
        """Whether this gateway leads the partition, or nobody does and it is the one to begin."""
        if self._ledger is None:
            return True
        leader = self._ledger.leader(tp)
        if leader is None:
            return self._assigned(tp) == self.node_id
        return leader.node_id == self.node_id

    def check_leads(self, tp: TopicPartition) -> None:
        """Return if :meth:`may_lead`. :raises NotLeaderOrFollower: it says who does, if that is known."""
        if not self.may_lead(tp):
            leader = self.leader(tp)
            told = f"node {leader.node_id}" if leader is not None else "another broker"
            raise NotLeaderOrFollower(f"{tp} is led by {told}")

    def is_vacant(self, tp: TopicPartition) -> bool:
        """Whether nobody leads the partition, and this gateway is the one to begin."""
        return (
            self._ledger is not None
            and self._ledger.leader(tp) is None
            and self._assigned(tp) == self.node_id
        )

    def _assigned(self, tp: TopicPartition) -> int:
        """Of the brokers that live, the one that a partition is for (rendezvous hashing)."""
        if self._registrations is None or not self._registrations.others:
            return self.node_id
        from hashlib import blake2b  # which a gateway that is alone does not need

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
        """The broker that coordinates the group or transactional id ``key``: the controller, for all.

        :raises CoordinatorNotAvailable: there is none now, or none that this client can dial.
        """
        controller = self.controller()
        for node in self.nodes(client):
            if node.id == controller:
                return node
        raise CoordinatorNotAvailable(f"no broker coordinates groups on listener {client.listener} now")
