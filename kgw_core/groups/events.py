"""What comes into the coordinator, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from kgw_core.errors import KafkaError
from kgw_core.groups.records import Record


class Now(NamedTuple):
    """The time of an event: ``ms`` of a clock that never goes back, ``wall_ms`` since the epoch."""

    ms: int
    wall_ms: int


class Join(NamedTuple):
    """A JoinGroup. ``member_id`` is empty for a member that has none yet.

    ``needs_id``: a new member is told its id before it may join (v4). ``may_skip``: a leader may be told
    that there is nothing to assign (v9).
    """

    group_id: str
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_ms: int
    rebalance_ms: int
    protocol_type: str
    protocols: tuple[tuple[str, bytes], ...]
    needs_id: bool = False
    may_skip: bool = False
    reason: str | None = None


class Sync(NamedTuple):
    """A SyncGroup; ``protocol_type`` and ``protocol_name`` are None where the client does not say (v5)."""

    group_id: str
    generation: int
    member_id: str
    instance_id: str | None
    protocol_type: str | None
    protocol_name: str | None
    assignments: dict[str, bytes]


class Leaving(NamedTuple):
    """One member of a LeaveGroup; a static one may be named by its instance id alone."""

    member_id: str
    instance_id: str | None = None
    reason: str | None = None


class JoinedMember(NamedTuple):
    """A member as the leader is told of it."""

    id: str
    instance_id: str | None
    metadata: bytes


class Joined(NamedTuple):
    """The answer to a Join; ``members`` for the leader only."""

    error: KafkaError | None
    member_id: str
    generation: int = -1
    protocol_type: str | None = None
    protocol_name: str | None = None
    leader: str = ""
    skip_assignment: bool = False
    members: Sequence[JoinedMember] = ()


class Synced(NamedTuple):
    """The answer to a Sync."""

    error: KafkaError | None
    protocol_type: str | None = None
    protocol_name: str | None = None
    assignment: bytes = b""


Token: TypeAlias = Any
"""Stands for whoever waits for an answer; the coordinator only hands it back."""


Then: TypeAlias = "Callable[[KafkaError | None, Now, Effects], None]"
"""What follows a write: called with None when its records are applied, else with why they are not."""


class Write(NamedTuple):
    """Records to commit together. When that is done or has failed, :meth:`Coordinator.committed` goes on.

    ``alone``: nothing else happens to the group meanwhile but heartbeats and commits of offsets.
    """

    group_id: str
    records: Sequence[Record]
    then: Then
    alone: bool


class Effects:
    """What an event led to: answers that are ready, and records to commit, in order."""

    __slots__ = ("replies", "writes")

    def __init__(self) -> None:
        self.replies: list[tuple[Token, Any]] = []
        self.writes: list[Write] = []

    def reply(self, token: Token, answer: Any) -> None:
        """``token`` gets ``answer``."""
        self.replies.append((token, answer))
