"""JoinGroup: all the ways in which a member may come, come back, or be refused."""

from __future__ import annotations

from collections.abc import Callable

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
"""As long as what makes a member id unique."""


class Joining:
    """The rules of JoinGroup. ``new_id`` makes what is unique in a member id."""

    def __init__(self, machine: Machine, new_id: Callable[[], str]) -> None:
        self._machine = machine
        self._new_id = new_id
        self._max_size = machine.settings.max_size

    def join(self, group: Group, join: Join, token: Token, now: Now, effects: Effects) -> None:
        """A member wants to be in the next generation."""
        try:
            self._join(group, join, token, now, effects)
        except KafkaError as error:
            effects.reply(token, Joined(error, join.member_id))
        self._machine.rebalance.maybe_complete(group, now, effects)

    def _join(self, group: Group, join: Join, token: Token, now: Now, effects: Effects) -> None:
        if not self._has_room(group, join.member_id):
            self._too_much(group, join, f"it has {self._max_size} members", token, now, effects)
            return
        if not self._fits(group, join):
            size = sum(len(data) for _, data in join.protocols)
            why = f"with the {size} bytes that this member says of itself {TOO_LARGE}"
            self._too_much(group, join, why, token, now, effects)
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
            self._new(group, join, token, now, effects)
        elif (pending := group.pending.get(join.member_id)) is not None and join.instance_id is None:
            del group.pending[join.member_id]
            pending.when = NEVER
            self._add(group, join, join.member_id, token, now, effects)
        else:
            self._known(group, join, token, now, effects)

    def _too_much(self, group: Group, join: Join, why: str, token: Token, now: Now, effects: Effects) -> None:
        """Refuse a member that the group has no room for; if it was in there, it is not any more."""
        member = group.members.get(join.member_id)
        if member is not None:
            self._machine.remove(group, member, f"member {member.id} is too much for it", now, effects)
        pending = group.pending.pop(join.member_id, None)
        if pending is not None:
            pending.when = NEVER
        full = GroupMaxSizeReached(f"group {group.id} takes no more: {why}")
        effects.reply(token, Joined(full, ""))

    def _fits(self, group: Group, join: Join) -> bool:
        """Whether the group's record stays small enough for the state. Who brings no more than it had is not
        to blame where it does not."""
        member = group.members.get(join.member_id)
        if member is None and join.instance_id is not None:
            member = group.members.get(group.static.get(join.instance_id, ""))
        before = member.size if member is not None else 0
        size = member_size(_record(join, join.member_id or _new_member_id(join, _ANY_ID)))
        return size <= before or group.fits(size - before)

    def _has_room(self, group: Group, member_id: str) -> bool:
        if self._max_size is None or group.state in (EMPTY, DEAD):
            return True
        member = group.members.get(member_id)
        if group.state is PREPARING:
            return (member is not None and member.joining is not None) or group.awaiting < self._max_size
        return member is not None or len(group.members) < self._max_size

    # -- new members

    def _new(self, group: Group, join: Join, token: Token, now: Now, effects: Effects) -> None:
        member_id = _new_member_id(join, self._new_id())
        if join.instance_id is not None:
            old = group.static.get(join.instance_id)
            if old is not None:
                self._replace(group, group.members[old], member_id, join, token, now, effects)
                return
        elif join.needs_id:
            pending = PendingMember(group.id, member_id)
            group.pending[member_id] = pending
            self._machine.deadlines.set(pending, now.ms + join.session_ms)
            told = MemberIdRequired("join again with the member id of this answer")
            effects.reply(token, Joined(told, member_id))
            return
        self._add(group, join, member_id, token, now, effects)

    def _add(
        self, group: Group, join: Join, member_id: str, token: Token, now: Now, effects: Effects
    ) -> None:
        member = Member(group.id, _record(join, member_id))
        member.is_new = True
        member.joining = token
        if not group.members:
            group.protocol_type = join.protocol_type
        if group.state is PREPARING and group.generation == 0:
            group.new_member_added = True
        group.add(member)
        self._machine.deadlines.set(member, now.ms + NEW_MEMBER_MS)
        self._prepare(group, f"member {member_id} joins: {join.reason or 'no reason given'}", now, effects)

    def _prepare(self, group: Group, why: str, now: Now, effects: Effects) -> None:
        if group.state is not PREPARING:
            self._machine.rebalance.prepare(group, why, now, effects)

    # -- members that are known

    def _known(self, group: Group, join: Join, token: Token, now: Now, effects: Effects) -> None:
        machine = self._machine
        member = machine.member(group, join.member_id, join.instance_id)
        if group.state is EMPTY:
            raise UnknownMemberId(f"group {group.id} has no members")
        same = member.protocols == join.protocols
        if same and (group.state is COMPLETING or (group.state is STABLE and member.id != group.leader)):
            # It may have missed the answer to an earlier JoinGroup.
            machine.deadlines.renew(member, now.ms)
            effects.reply(token, machine.rebalance.joined(group, member))
            return
        self._update(group, member, join, token, effects)
        why = "leads and joins again" if same else "has other metadata"
        reason = join.reason or "no reason given"
        self._prepare(group, f"member {member.id} {why}: {reason}", now, effects)

    def _update(self, group: Group, member: Member, join: Join, token: Token, effects: Effects) -> None:
        if member.joining is not None:
            effects.reply(member.joining, Joined(replaced(member), member.id))
        group.set_protocols(member, join.protocols)
        member.session_ms, member.rebalance_ms = join.session_ms, join.rebalance_ms
        group.set_joining(member, token)

    # -- a static member that was restarted

    def _replace(
        self,
        group: Group,
        member: Member,
        member_id: str,
        join: Join,
        token: Token,
        now: Now,
        effects: Effects,
    ) -> None:
        """It has lost its member id and goes on under a new one; whoever uses the old one is fenced."""
        fenced = FencedInstanceId(
            f"instance id {join.instance_id} of group {group.id} belongs to {member_id}"
        )
        if member.joining is not None:
            effects.reply(member.joining, Joined(fenced, member.id))
            group.set_joining(member, None)
        if member.syncing is not None:
            effects.reply(member.syncing, Synced(fenced))
            member.syncing = None
        if group.state is STABLE and self._keeps_protocol(group, member, join):
            self._write_replaced(group, member, member_id, join, token, now, effects)
            return
        group.rename(member, member_id)
        self._update(group, member, join, token, effects)
        member.client_id, member.client_host = join.client_id, join.client_host
        self._machine.deadlines.renew(member, now.ms)
        self._prepare(group, f"static member {join.instance_id} was restarted", now, effects)

    @staticmethod
    def _keeps_protocol(group: Group, member: Member, join: Join) -> bool:
        before = member.protocols
        member.protocols = join.protocols
        try:
            return vote(group.members.values()) == group.protocol_name
        finally:
            member.protocols = before

    def _write_replaced(
        self,
        group: Group,
        member: Member,
        member_id: str,
        join: Join,
        token: Token,
        now: Now,
        effects: Effects,
    ) -> None:
        """The new id takes the old one's place and assignment; nobody has to rebalance."""
        old_leader = group.leader
        leads = member.id == old_leader
        members = [
            _record(join, member_id, known.assignment) if known is member else known.record(known.assignment)
            for known in group.members.values()
        ]
        record = group.record(
            "Stable", group.generation, group.protocol_name, member_id if leads else old_leader, group.since,
            members,
        )  # fmt: skip
        if not record_fits(record):
            full = GroupMaxSizeReached(f"group {group.id} takes no more: {TOO_LARGE}")
            effects.reply(token, Joined(full, ""))
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
            else:  # Told of the old leader it does not take itself for one, and assigns nothing.
                answer = answer._replace(leader=old_leader or "", members=())
            effects.reply(token, answer)

        group.write([PutGroup(group.id, record)], written, effects)


def _new_member_id(join: Join, unique: str) -> str:
    """As Kafka makes them; of a name that is too long, its beginning."""
    name = join.client_id if join.instance_id is None else join.instance_id
    return f"{shortened(name, MOST_TEXT - 1 - len(unique))}-{unique}"


def _record(join: Join, member_id: str, assignment: bytes = b"") -> MemberRecord:
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
