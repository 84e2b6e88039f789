"""The coordinator's input (requests, the time) and output (answers, records to commit)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from kgw_core.errors import KafkaError
from kgw_core.groups.records import Record


class Now(NamedTuple):
    """The time of an event: ``ms`` of the monotonic clock, ``wall_ms`` since the epoch."""

    ms: int
    wall_ms: int


class Join(NamedTuple):
    """A JoinGroup. ``member_id`` is empty for a new member.

    ``needs_id``: a new member gets its id before it may join (v4). ``may_skip``: the response may tell the
    leader to skip the assignment (v9).
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
    """A SyncGroup. ``protocol_type`` and ``protocol_name`` are None if the client sent none (before v5)."""

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
    """A member in the leader's JoinGroup response."""

    id: str
    instance_id: str | None
    metadata: bytes


class Joined(NamedTuple):
    """The answer to a Join. Only the leader gets ``members``."""

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
"""Identifies the request that waits for an answer. The coordinator only hands it back."""


OnWritten: TypeAlias = "Callable[[KafkaError | None, Now, Effects], None]"
"""Called after a write: with None if its records are applied, else with the error."""


class Write(NamedTuple):
    """Records to commit together. The driver reports the outcome to :meth:`Coordinator.committed`.

    ``alone``: until then the group takes only heartbeats and commits of offsets.
    """

    group_id: str
    records: Sequence[Record]
    on_written: OnWritten
    alone: bool


class Effects:
    """The result of an event: answers to send, and records to commit, both in order.

    ``faults``: exceptions that are no KafkaError, with the groups that met them.
    """

    __slots__ = ("faults", "replies", "writes")

    def __init__(self) -> None:
        self.faults: tuple[tuple[str, Exception], ...] = ()
        self.replies: list[tuple[Token, Any]] = []
        self.writes: list[Write] = []

    def reply(self, token: Token, answer: Any) -> None:
        """Answer the request of ``token``."""
        self.replies.append((token, answer))
