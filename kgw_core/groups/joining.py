"""JoinGroup: how members join, rejoin, come back after a restart, or are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kgw_core.errors import (
    CoordinatorNotAvailable,
    FencedInstanceId,
    GroupMaxSizeReached,
    InconsistentGroupProtocol,
    KafkaError,
    MemberIdRequired,
    UnknownMemberId,
)
from kgw_core.groups.deadlines import NEVER
from kgw_core.groups.events import Effects, Join, Joined, Now, Synced, Token
from kgw_core.groups.group import (
    COMPLETING,
    DEAD,
    EMPTY,
    PREPARING,
    STABLE,
    Group,
    Member,
    PendingMember,
    vote,
)
from kgw_core.groups.machine import NEW_MEMBER_MS, Machine, replaced
from kgw_core.groups.records import MemberRecord, PutGroup
from kgw_core.groups.sizes import MOST_TEXT, TOO_LARGE, member_size, record_fits, shortened

_ANY_ID = "00000000-0000-0000-0000-000000000000"
"""A placeholder as long as the unique part of a member id."""


class _Request(NamedTuple):
    """One JoinGroup and what is needed to answer it."""

    group: Group
    join: Join
    token: Token
    now: Now
    effects: Effects

    def reply(self, error: KafkaError, member_id: str) -> None:
        """Refuse the request with ``error``."""
        self.effects.reply(self.token, Joined(error, member_id))

    def record(self, member_id: str, assignment: bytes = b"") -> MemberRecord:
        """The member that asks, as it is stored."""
        join = self.join
        return MemberRecord(
            member_id,
            join.instance_id,
            join.client_id,
            join.client_host,
            join.session_ms,
            join.rebalance_ms,
            join.protocols,
            assignment,
        )

    def reason(self) -> str:
        """The reason that the client gave, for the log."""
        return self.join.reason or "no reason given"


class Joining:
    """The rules of JoinGroup. ``new_id`` makes the unique part of a member id."""

    def __init__(self, machine: Machine, new_id: Callable[[], str]) -> None:
        self._machine = machine
        self._new_id = new_id
        self._max_size = machine.settings.max_size

    def join(self, group: Group, join: Join, token: Token, now: Now, effects: Effects) -> None:
        """A member asks to be in the next generation."""
        request = _Request(group, join, token, now, effects)
        try:
            self._join(request)
        except KafkaError as error:
            request.reply(error, join.member_id)
        self._machine.rebalance.maybe_complete(group, now, effects)

    def _join(self, request: _Request) -> None:
        group, join = request.group, request.join
        if not self._has_room(group, join.member_id):
            self._refuse_full(request, f"it has {self._max_size} members")
            return
        if not self._fits(request):
            size = sum(len(data) for _, data in join.protocols)
            self._refuse_full(request, f"with the {size} bytes of this member's metadata {TOO_LARGE}")
            return
        if group.state is DEAD:
            raise CoordinatorNotAvailable(f"group {group.id} is gone")
        if not group.supports(join.protocol_type, join.protocols):
            offered = ", ".join(name for name, _ in join.protocols)
            raise InconsistentGroupProtocol(
                f"{join.protocol_type}/{offered or 'nothing'} does not go with the other members of"
                f" group {group.id}"
            )
        if not join.member_id:
            self._join_new(request)
        elif (pending := group.pending.get(join.member_id)) is not None and join.instance_id is None:
            del group.pending[join.member_id]
            pending.when = NEVER
            self._add(request, join.member_id)
        else:
            self._join_known(request)

    def _refuse_full(self, request: _Request, why: str) -> None:
        """Refuse the member because the group has no room for it; remove it if it was in the group."""
        group, member_id = request.group, request.join.member_id
        member = group.members.get(member_id)
        if member is not None:
            why_removed = f"the group has no room for member {member.id}"
            self._machine.remove(group, member, why_removed, request.now, request.effects)
        pending = group.pending.pop(member_id, None)
        if pending is not None:
            pending.when = NEVER
        request.reply(GroupMaxSizeReached(f"group {group.id} takes no more: {why}"), "")

    def _fits(self, request: _Request) -> bool:
        """Whether the group's record stays small enough for the state. A member that brings no more bytes
        than before is never refused for its size."""
        group, join = request.group, request.join
        member = group.members.get(join.member_id)
        if member is None and join.instance_id is not None:
            member = group.members.get(group.static.get(join.instance_id, ""))
        before = member.size if member is not None else 0
        size = member_size(request.record(join.member_id or _new_member_id(join, _ANY_ID)))
        return size <= before or group.fits(size - before)

    def _has_room(self, group: Group, member_id: str) -> bool:
        if self._max_size is None or group.state in (EMPTY, DEAD):
            return True
        member = group.members.get(member_id)
        if group.state is PREPARING:
            return (member is not None and member.joining is not None) or group.awaiting < self._max_size
        return member is not None or len(group.members) < self._max_size

    # -- new members

    def _join_new(self, request: _Request) -> None:
        group, join = request.group, request.join
        member_id = _new_member_id(join, self._new_id())
        if join.instance_id is not None:
            old = group.static.get(join.instance_id)
            if old is not None:
                self._replace(request, group.members[old], member_id)
                return
        elif join.needs_id:
            pending = PendingMember(group.id, member_id)
            group.pending[member_id] = pending
            self._machine.deadlines.set(pending, request.now.ms + join.session_ms)
            request.reply(MemberIdRequired("join again with the member id of this answer"), member_id)
            return
        self._add(request, member_id)

    def _add(self, request: _Request, member_id: str) -> None:
        group = request.group
        member = Member(group.id, request.record(member_id))
        member.is_new = True
        member.joining = request.token
        if not group.members:
            group.protocol_type = request.join.protocol_type
        if group.state is PREPARING and group.generation == 0:
            group.new_member_added = True
        group.add(member)
        self._machine.deadlines.set(member, request.now.ms + NEW_MEMBER_MS)
        self._prepare(request, f"member {member_id} joins: {request.reason()}")

    def _prepare(self, request: _Request, why: str) -> None:
        if request.group.state is not PREPARING:
            self._machine.rebalance.prepare(request.group, why, request.now, request.effects)

    # -- members that are known

    def _join_known(self, request: _Request) -> None:
        group, join, machine = request.group, request.join, self._machine
        member = machine.member(group, join.member_id, join.instance_id)
        if group.state is EMPTY:
            raise UnknownMemberId(f"group {group.id} has no members")
        same = member.protocols == join.protocols
        if same and (group.state is COMPLETING or (group.state is STABLE and member.id != group.leader)):
            # The member may have missed the answer to an earlier JoinGroup.
            machine.deadlines.renew(member, request.now.ms)
            request.effects.reply(request.token, machine.rebalance.joined(group, member))
            return
        self._update(request, member)
        why = "leads and joins again" if same else "has other metadata"
        self._prepare(request, f"member {member.id} {why}: {request.reason()}")

    def _update(self, request: _Request, member: Member) -> None:
        group, join = request.group, request.join
        group.answer_join(member, Joined(replaced(member), member.id), request.effects)
        group.set_protocols(member, join.protocols)
        member.session_ms, member.rebalance_ms = join.session_ms, join.rebalance_ms
        group.set_joining(member, request.token)

    # -- a static member that was restarted

    def _replace(self, request: _Request, member: Member, member_id: str) -> None:
        """Give the static member its new id. Requests with its old id are fenced."""
        group, join = request.group, request.join
        fenced = FencedInstanceId(
            f"instance id {join.instance_id} of group {group.id} belongs to {member_id}"
        )
        group.answer_join(member, Joined(fenced, member.id), request.effects)
        member.answer_sync(Synced(fenced), request.effects)
        if group.state is STABLE and self._keeps_protocol(group, member, join):
            self._write_replaced(request, member, member_id)
            return
        group.rename(member, member_id)
        self._update(request, member)
        member.client_id, member.client_host = join.client_id, join.client_host
        self._machine.deadlines.renew(member, request.now.ms)
        self._prepare(request, f"static member {join.instance_id} was restarted")

    @staticmethod
    def _keeps_protocol(group: Group, member: Member, join: Join) -> bool:
        before = member.protocols
        member.protocols = join.protocols
        try:
            return vote(group.members.values()) == group.protocol_name
        finally:
            member.protocols = before

    def _write_replaced(self, request: _Request, member: Member, member_id: str) -> None:
        """Write the generation with the new id in the old one's place. Nobody has to rebalance."""
        group, join, token = request.group, request.join, request.token
        old_leader = group.leader
        leads = member.id == old_leader
        members = [
            request.record(member_id, known.assignment) if known is member else known.record(known.assignment)
            for known in group.members.values()
        ]
        record = group.record(
            "Stable", group.generation, group.protocol_name, member_id if leads else old_leader, group.since,
            members,
        )  # fmt: skip
        if not record_fits(record):
            request.reply(GroupMaxSizeReached(f"group {group.id} takes no more: {TOO_LARGE}"), "")
            return
        was_pending = member.id in group.pending_sync

        def written(error: KafkaError | None, now: Now, effects: Effects) -> None:
            if error is not None:
                effects.reply(token, Joined(error, ""))
                return
            if was_pending:
                group.pending_sync.discard(member.id)
                group.pending_sync.add(member_id)
            new = group.members[member_id]
            self._machine.deadlines.renew(new, now.ms)
            answer = self._machine.rebalance.joined(group, new)
            if join.may_skip:
                answer = answer._replace(skip_assignment=leads)
            else:  # The client sees the old leader's id, so it does not lead and assigns nothing.
                answer = answer._replace(leader=old_leader or "", members=())
            effects.reply(token, answer)

        group.write([PutGroup(group.id, record)], written, request.effects)


def _new_member_id(join: Join, unique: str) -> str:
    """A member id in Kafka's form. A name that is too long is cut."""
    name = join.client_id if join.instance_id is None else join.instance_id
    return f"{shortened(name, MOST_TEXT - 1 - len(unique))}-{unique}"
