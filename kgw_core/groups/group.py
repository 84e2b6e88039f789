"""A group in memory: its members, its state and its committed offsets. ``machine`` has the rules."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import Literal

from kgw_core.groups.deadlines import NEVER, Deadline, Session
from kgw_core.groups.events import Effects, Joined, JoinedMember, Now, OnWritten, Synced, Token, Write
from kgw_core.groups.records import Committed, GroupRecord, MemberRecord, Record, StoredState
from kgw_core.groups.sizes import fits, member_size
from kgw_core.groups.subscriptions import CONSUMER, topics_of

Protocols = tuple[tuple[str, bytes], ...]
GroupType = Literal["classic", "consumer"]
"""``consumer`` is the protocol of KIP-848, which is not served yet."""


class State(Enum):
    """The state of a group, by Kafka's names. :mod:`machine` has the table."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


EMPTY, PREPARING, COMPLETING, STABLE, DEAD = (
    State.EMPTY,
    State.PREPARING,
    State.COMPLETING,
    State.STABLE,
    State.DEAD,
)


class Member(Session):
    """A member. As a Deadline it is the end of the member's session.

    ``is_new`` is true until the member learns its first generation. ``joining`` and ``syncing`` are the
    tokens of its waiting JoinGroup and SyncGroup, or None.
    """

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "group_id",
        "id",
        "instance_id",
        "is_new",
        "joining",
        "protocols",
        "rebalance_ms",
        "size",
        "syncing",
    )

    def __init__(self, group_id: str, record: MemberRecord) -> None:
        super().__init__(record.session_ms)
        self.group_id = group_id
        self.size = 0  # this member's part of the group's size
        self.is_new = False
        self.joining: Token = None
        self.syncing: Token = None
        self.take(record)

    def take(self, record: MemberRecord) -> None:
        """Take over the fields of ``record``."""
        (
            self.id,
            self.instance_id,
            self.client_id,
            self.client_host,
            self.session_ms,
            self.rebalance_ms,
            self.protocols,
            self.assignment,
        ) = (
            record.id,
            record.instance_id,
            record.client_id,
            record.client_host,
            record.session_ms,
            record.rebalance_ms,
            record.protocols,
            record.assignment,
        )

    def record(self, assignment: bytes) -> MemberRecord:
        """The record of this member, with this assignment."""
        return MemberRecord(
            self.id,
            self.instance_id,
            self.client_id,
            self.client_host,
            self.session_ms,
            self.rebalance_ms,
            self.protocols,
            assignment,
        )

    def metadata(self, protocol: str) -> bytes:
        """The metadata that the member sent for ``protocol``."""
        return next((data for name, data in self.protocols if name == protocol), b"")

    def answer_sync(self, answer: Synced, effects: Effects) -> bool:
        """Answer the SyncGroup that waits, if one does; return whether one did."""
        token, self.syncing = self.syncing, None
        if token is not None:
            effects.reply(token, answer)
        return token is not None


class PendingMember(Deadline):
    """A member id that a client was given and has not joined with yet. It expires with the session."""

    __slots__ = ("group_id", "id")

    def __init__(self, group_id: str, id: str) -> None:
        super().__init__()
        self.group_id = group_id
        self.id = id


class GroupTimer(Deadline):
    """The time until which the group waits for its members to join, or to sync."""

    __slots__ = ("group_id", "kind")

    def __init__(self, group_id: str, kind: Literal["join", "sync"]) -> None:
        super().__init__()
        self.group_id = group_id
        self.kind = kind


class Group:
    """One group.

    ``generation``, ``protocol_*``, ``leader``, assignments and offsets are those of the last record. Members
    change ahead of it only while a rebalance is being prepared.
    """

    __slots__ = (
        "_counts",
        "_subscribed",
        "awaiting",
        "deferred",
        "deleting",
        "generation",
        "id",
        "in_flight",
        "initial",
        "initial_left_ms",
        "join_timer",
        "leader",
        "members",
        "new_member_added",
        "offsets",
        "pending",
        "pending_sync",
        "protocol_name",
        "protocol_type",
        "since",
        "size",
        "state",
        "static",
        "stored",
        "sync_timer",
        "transactions",
        "type",
        "writing",
    )

    def __init__(self, id: str) -> None:
        self.id = id
        self.type: GroupType = "classic"
        self.state = State.EMPTY
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol_name: str | None = None
        self.leader: str | None = None
        self.since = 0
        self.members: dict[str, Member] = {}
        self.size = 0
        """Upper bound of the members' bytes in the group's record, without their assignments."""
        self.static: dict[str, str] = {}
        self.pending: dict[str, PendingMember] = {}
        self.pending_sync: set[str] = set()
        self.awaiting = 0
        self.join_timer = GroupTimer(id, "join")
        self.sync_timer = GroupTimer(id, "sync")
        self.initial = False
        self.initial_left_ms = 0
        self.new_member_added = False
        self.stored = False
        self.writing = False
        self.deleting = False
        self.in_flight = 0
        self.deferred: deque[Callable[[Now, Effects], None]] = deque()
        self.offsets: dict[str, dict[int, Committed]] = {}
        self.transactions: dict[int, dict[tuple[str, int], Committed]] = {}
        """Offsets of open transactions by producer id. Nothing writes them yet."""
        self._counts: dict[str, int] = {}
        self._subscribed: frozenset[str] | bool | None = False  # False: not computed yet

    # -- members

    def add(self, member: Member) -> None:
        """Add a member."""
        self.members[member.id] = member
        if member.instance_id is not None:
            self.static[member.instance_id] = member.id
        if self.leader is None:
            self.leader = member.id
        self._count(member.protocols, 1)
        self._weigh(member)
        if member.joining is not None:
            self.awaiting += 1

    def remove(self, member: Member) -> None:
        """Remove a member and end its session."""
        del self.members[member.id]
        if member.instance_id is not None and self.static.get(member.instance_id) == member.id:
            del self.static[member.instance_id]
        if member.joining is not None:
            self.awaiting -= 1
        if self.leader == member.id:
            self.leader = next(iter(self.members), None)
        self.pending_sync.discard(member.id)
        self._count(member.protocols, -1)
        self.size -= member.size
        member.size = 0
        member.when = NEVER

    def set_joining(self, member: Member, token: Token) -> None:
        """Let ``token`` wait for the next generation; None: no request of the member waits."""
        self.awaiting += (token is not None) - (member.joining is not None)
        member.joining = token

    def answer_join(self, member: Member, answer: Joined, effects: Effects) -> bool:
        """Answer the member's JoinGroup that waits, if one does; return whether one did."""
        token = member.joining
        if token is None:
            return False
        effects.reply(token, answer)
        self.set_joining(member, None)
        return True

    def set_protocols(self, member: Member, protocols: Protocols) -> None:
        """Replace the member's protocols and metadata."""
        self._count(member.protocols, -1)
        member.protocols = protocols
        self._count(protocols, 1)
        self._weigh(member)

    def rename(self, member: Member, id: str) -> None:
        """Give a static member another id, in the same place."""
        old, member.id = member.id, id
        self.members = {known.id: known for known in self.members.values()}
        if member.instance_id is not None:
            self.static[member.instance_id] = id
        if self.leader == old:
            self.leader = id

    def _weigh(self, member: Member) -> None:
        before = member.size
        member.size = member_size(member)
        self.size += member.size - before

    def fits(self, more: int = 0) -> bool:
        """Whether the group's record would fit into the state with ``more`` bytes."""
        return fits(self.size + more, self.protocol_type, self.protocol_name, self.leader)

    def _count(self, protocols: Protocols, by: int) -> None:
        for name in {name for name, _ in protocols}:
            self._counts[name] = self._counts.get(name, 0) + by

    @property
    def all_joined(self) -> bool:
        return self.awaiting == len(self.members) and not self.pending

    def rebalance_ms(self) -> int:
        """How long a rebalance waits: the longest rebalance timeout of the members."""
        return max((member.rebalance_ms for member in self.members.values()), default=0)

    # -- protocols

    def supports(self, protocol_type: str, protocols: Protocols) -> bool:
        """Whether a member with these protocols can be in the group."""
        if self.state is State.EMPTY:
            return bool(protocol_type and protocols)
        size = len(self.members)
        return self.protocol_type == protocol_type and any(
            self._counts.get(name, 0) == size for name, _ in protocols
        )

    def for_leader(self) -> list[JoinedMember]:
        """All members, for the leader's JoinGroup response."""
        name = self.protocol_name or ""
        return [
            JoinedMember(member.id, member.instance_id, member.metadata(name))
            for member in self.members.values()
        ]

    def subscribed(self) -> frozenset[str] | None:
        """The topics that a consumer group's generation subscribes to; None if they are not known."""
        if self._subscribed is False:
            topics: frozenset[str] | None = None
            if self.protocol_type == CONSUMER:
                if not self.members:
                    topics = frozenset()
                elif self.protocol_name is not None:
                    name = self.protocol_name
                    topics = topics_of(member.metadata(name) for member in self.members.values())
            self._subscribed = topics
        return self._subscribed  # type: ignore[return-value] # False is ruled out

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether the group subscribes to ``topic``; true also if its subscription is not known."""
        topics = self.subscribed()
        return topics is None or topic in topics

    # -- records

    def take(self, record: GroupRecord) -> None:
        """Take over ``record``: the same code after a commit and at a replay."""
        self.state = State(record.state)
        self.generation = record.generation
        self.protocol_type = record.protocol_type
        self.protocol_name = record.protocol_name
        self.leader = record.leader
        self.since = record.since
        self.stored = True
        before, self.members = self.members, {}
        self.size = 0
        self.static = {}
        self._counts = {}
        self._subscribed = False
        self.awaiting = 0
        for stored in record.members:
            member = before.pop(stored.id, None)
            if member is None:
                member = Member(self.id, stored)
            else:
                member.take(stored)
                member.size = 0
            self.add(member)
        for gone in before.values():
            gone.when = NEVER

    def write(self, records: Sequence[Record], on_written: OnWritten, effects: Effects) -> None:
        """Write the group's own records. Nothing else changes the group until they are written."""
        self.writing = True
        effects.writes.append(Write(self.id, records, on_written, True))

    def record(
        self, state: StoredState, generation: int, protocol: str | None, leader: str | None, since: int,
        members: Iterable[MemberRecord],
    ) -> GroupRecord:  # fmt: skip
        """A record of this group."""
        return GroupRecord(state, generation, self.protocol_type, protocol, leader, since, tuple(members))

    def stored_record(self) -> GroupRecord | None:
        """The record that would restore the group; None while its members have changed ahead of it."""
        if self.state in (State.PREPARING, State.DEAD) or not self.stored:
            return None
        members = [member.record(member.assignment) for member in self.members.values()]
        state: StoredState = self.state.value
        return self.record(state, self.generation, self.protocol_name, self.leader, self.since, members)

    # -- offsets

    def each_offset(self) -> Iterator[tuple[str, int, Committed]]:
        """Topic, partition and committed offset, for all committed offsets."""
        for topic, partitions in self.offsets.items():
            for partition, committed in partitions.items():
                yield topic, partition, committed

    def has_pending_offset(self, topic: str, partition: int) -> bool:
        """Whether an open transaction has an offset for the partition."""
        return any((topic, partition) in offsets for offsets in self.transactions.values())

    @property
    def bare(self) -> bool:
        """Whether the group holds nothing and can be dropped."""
        return (
            not (self.members or self.pending or self.offsets or self.transactions or self.stored)
            and self.state is State.EMPTY
            and not (self.writing or self.in_flight or self.deferred)
        )


def vote(members: Iterable[Member]) -> str:
    """The protocol that all of ``members`` support and most of them prefer. They have one in common."""
    voters = list(members)
    counts: dict[str, int] = {}
    for member in voters:
        for name in {name for name, _ in member.protocols}:
            counts[name] = counts.get(name, 0) + 1
    votes: dict[str, int] = {}
    for member in voters:
        choice = next(name for name, _ in member.protocols if counts[name] == len(voters))
        votes[choice] = votes.get(choice, 0) + 1
    return max(votes, key=lambda name: votes[name])
