"""The state machine of a classic group: what each request and each timer does in each state.

| state                | Join of a new member, or changed     | Join of a member, unchanged      | Sync                            | Heartbeat               | OffsetCommit of a member |
|----------------------|--------------------------------------|----------------------------------|---------------------------------|-------------------------|--------------------------|
| Empty                | prepare, wait initial delay          | UNKNOWN_MEMBER_ID                | UNKNOWN_MEMBER_ID               | UNKNOWN_MEMBER_ID       | generation -1 only       |
| PreparingRebalance   | wait for the others                  | wait for the others              | REBALANCE_IN_PROGRESS           | REBALANCE_IN_PROGRESS   | commit                   |
| CompletingRebalance  | fail all syncs, prepare, wait        | this generation again            | wait; the leader's: to Stable   | fine                    | REBALANCE_IN_PROGRESS    |
| Stable               | prepare, wait                        | this generation; leader: prepare | the assignment                  | fine                    | commit                   |
| Dead                 | COORDINATOR_NOT_AVAILABLE everywhere: the group was deleted, or the gateway stops                                                                        |

Transitions: Empty -> PreparingRebalance (a join) -> CompletingRebalance (all have joined, or time is up) or
Empty (nobody is left) ; CompletingRebalance -> Stable (the leader's assignment) ; CompletingRebalance or
Stable -> PreparingRebalance (a member joins, leaves or changes) ; Empty -> Dead (deleted).

Rules:

1. Nothing here reads a clock, waits, or does I/O. Every method takes the time, and adds answers and records
   to :class:`Effects`.
2. Generation, protocol, leader, assignments and offsets change only when a record is applied: after its
   commit, or at replay, by the same code. Each generation is stored once when it is complete and once when it
   is assigned, so no generation number is used twice. While a rebalance is being prepared, members change
   ahead of the last record. A crash then restores the last generation; its members join again or time out.
3. A group's own record is written alone. Other changes of the group wait until the write is done.
4. Every request that waits is answered: with the generation or the assignment; when its member leaves, is
   removed, fenced, or sends a later request; when the group dies; when a write fails.
5. A session continues while its member waits for the others, and can expire only after that wait. A new
   member that does not know its id yet has :data:`NEW_MEMBER_MS`.
"""  # noqa: E501

from __future__ import annotations

import logging

from kgw_core.config import Groups as GroupSettings
from kgw_core.errors import (
    CoordinatorNotAvailable,
    FencedInstanceId,
    IllegalGeneration,
    InconsistentGroupProtocol,
    KafkaError,
    NotCoordinator,
    RebalanceInProgress,
    UnknownMemberId,
    UnknownServerError,
)
from kgw_core.groups.deadlines import NEVER, Deadlines
from kgw_core.groups.events import Effects, Joined, Leaving, Now, Sync, Synced, Token
from kgw_core.groups.group import COMPLETING, DEAD, EMPTY, PREPARING, STABLE, Group, Member, State
from kgw_core.groups.rebalance import Rebalance
from kgw_core.groups.records import MemberRecord, PutGroup
from kgw_core.groups.sizes import TOO_LARGE, record_fits

logger = logging.getLogger("kgw.groups")

HEARTBEAT: dict[State, type[KafkaError] | None] = {
    EMPTY: UnknownMemberId,
    PREPARING: RebalanceInProgress,
    COMPLETING: None,
    STABLE: None,
    DEAD: CoordinatorNotAvailable,
}
"""The error for a Heartbeat of a member with the right generation."""

SYNC = HEARTBEAT
"""The error for a SyncGroup. None: the member waits, or gets its assignment."""

COMMIT: dict[State, type[KafkaError] | None] = {
    EMPTY: None,
    PREPARING: None,
    COMPLETING: RebalanceInProgress,
    STABLE: None,
    DEAD: CoordinatorNotAvailable,
}
"""The error for an OffsetCommit of a member with the right generation."""

NEW_MEMBER_MS = 5 * 60 * 1000
"""How long a new member's JoinGroup may wait. A client that is still there asks again."""


class Machine:
    """The rules of one coordinator, with its ``settings`` and the ``deadlines`` of all its groups.

    This class handles requests and timeouts of members; ``rebalance`` makes the generations.
    """

    def __init__(self, settings: GroupSettings, deadlines: Deadlines) -> None:
        self.settings = settings
        self.deadlines = deadlines
        self.rebalance = Rebalance(settings, deadlines)

    # -- who may ask

    def member(self, group: Group, member_id: str, instance_id: str | None) -> Member:
        """The member that sent a request.

        :raises FencedInstanceId: another member has this instance id now.
        :raises UnknownMemberId: there is no such member.
        """
        if instance_id is not None:
            current = group.static.get(instance_id)
            if current is None:
                raise UnknownMemberId(f"group {group.id} has no member with the instance id {instance_id}")
            if current != member_id:
                raise FencedInstanceId(f"instance id {instance_id} of group {group.id} belongs to {current}")
        member = group.members.get(member_id)
        if member is None:
            raise UnknownMemberId(f"group {group.id} has no member {member_id}")
        return member

    def current_member(
        self, group: Group, generation: int, member_id: str, instance_id: str | None
    ) -> Member:
        """:meth:`member`, and check its generation. :raises IllegalGeneration: the generation is wrong."""
        if group.state is DEAD:
            raise CoordinatorNotAvailable(f"group {group.id} is gone")
        member = self.member(group, member_id, instance_id)
        if generation != group.generation:
            raise IllegalGeneration(f"group {group.id} is in generation {group.generation}, not {generation}")
        return member

    # -- requests

    def heartbeat(
        self, group: Group, generation: int, member_id: str, instance_id: str | None, now_ms: int
    ) -> None:
        """A Heartbeat renews the member's session. :raises KafkaError: see the table."""
        member = group.members.get(member_id)
        if member is None or generation != group.generation or instance_id is not None or group.state is DEAD:
            member = self.current_member(group, generation, member_id, instance_id)
        refusal = HEARTBEAT[group.state]
        if refusal is not UnknownMemberId:
            when = member.when = now_ms + member.session_ms  # renew(), inlined for speed
            if when < member.queued:
                self.deadlines.set(member, when)
        if refusal is not None:
            raise refusal(f"group {group.id} is {group.state.value}")

    def sync(self, group: Group, sync: Sync, token: Token, now: Now, effects: Effects) -> None:
        """A member asks for its assignment. The leader sends the assignments of all members."""
        try:
            member = self.current_member(group, sync.generation, sync.member_id, sync.instance_id)
            if sync.protocol_type not in (None, group.protocol_type) or sync.protocol_name not in (
                None,
                group.protocol_name,
            ):
                raise InconsistentGroupProtocol(
                    f"group {group.id} uses {group.protocol_type}/{group.protocol_name},"
                    f" not {sync.protocol_type}/{sync.protocol_name}"
                )
            if (refusal := SYNC[group.state]) is not None:
                raise refusal(f"group {group.id} is {group.state.value}")
        except KafkaError as error:
            effects.reply(token, Synced(error))
            return
        group.pending_sync.discard(member.id)
        if group.state is STABLE:
            self._synced_all(group)
            self.deadlines.renew(member, now.ms)
            effects.reply(token, Synced(None, group.protocol_type, group.protocol_name, member.assignment))
            return
        member.answer_sync(Synced(replaced(member)), effects)
        member.syncing = token
        if member.id == group.leader:
            self._assign(group, sync.assignments, now, effects)

    def _assign(self, group: Group, assignments: dict[str, bytes], now: Now, effects: Effects) -> None:
        """Write the leader's assignments. The group is stable when they are written."""
        members = [member.record(assignments.get(member.id, b"")) for member in group.members.values()]
        without = [member.id for member in members if not member.assignment]
        if without and group.protocol_type is not None:
            logger.debug("group %s: nothing is assigned to %s", group.id, without)
        record = group.record(
            "Stable", group.generation, group.protocol_name, group.leader, now.wall_ms, members
        )
        if not record_fits(record):
            self._refuse_assignment(group, members, effects)
            return

        def assigned(error: KafkaError | None, now: Now, effects: Effects) -> None:
            if error is not None:
                self.rebalance.fail_syncs(group, error, effects, now)
                self.rebalance.prepare(group, f"the assignment could not be written: {error}", now, effects)
                return
            logger.info("group %s is stable in generation %d", group.id, group.generation)
            for member in group.members.values():
                answer = Synced(None, group.protocol_type, group.protocol_name, member.assignment)
                if member.answer_sync(answer, effects):
                    self.deadlines.renew(member, now.ms)
            self._synced_all(group)

        group.write([PutGroup(group.id, record)], assigned, effects)

    def _refuse_assignment(self, group: Group, members: list[MemberRecord], effects: Effects) -> None:
        """The leader's assignments are too large. As in Kafka the leader gets UNKNOWN_SERVER_ERROR. The other
        members wait for a smaller assignment, as long as they would wait for the first one."""
        size = sum(len(member.assignment) for member in members)
        refused = UnknownServerError(f"group {group.id}: with {size} bytes of assignments {TOO_LARGE}")
        leader = group.members[group.leader or ""]
        leader.answer_sync(Synced(refused), effects)
        group.pending_sync.add(leader.id)

    def _synced_all(self, group: Group) -> None:
        if not group.pending_sync:
            group.sync_timer.when = NEVER

    def leave(self, group: Group, leaving: Leaving, now: Now, effects: Effects) -> None:
        """A member leaves. :raises KafkaError: the member is unknown or fenced."""
        if group.state is DEAD:
            raise CoordinatorNotAvailable(f"group {group.id} is gone")
        member_id, instance_id = leaving.member_id, leaving.instance_id
        if not member_id:
            found = group.static.get(instance_id) if instance_id is not None else None
            if found is None:
                raise UnknownMemberId(f"group {group.id} has no member with the instance id {instance_id}")
            member_id = found
        elif (pending := group.pending.pop(member_id, None)) is not None:
            pending.when = NEVER
            self.rebalance.maybe_complete(group, now, effects)
            return
        member = self.member(group, member_id, instance_id)
        self.remove(
            group, member, f"member {member_id} left: {leaving.reason or 'no reason given'}", now, effects
        )

    # -- removing members

    def remove(self, group: Group, member: Member, why: str, now: Now, effects: Effects) -> None:
        """Remove a member. The others rebalance."""
        gone = UnknownMemberId(f"member {member.id} of group {group.id} was removed")
        group.answer_join(member, Joined(gone, ""), effects)
        member.answer_sync(Synced(gone), effects)
        group.remove(member)
        if group.state in (STABLE, COMPLETING):
            self.rebalance.prepare(group, why, now, effects)
        else:
            logger.info("group %s: %s", group.id, why)
            self.rebalance.maybe_complete(group, now, effects)

    def session_over(self, group: Group, member: Member, now: Now, effects: Effects) -> None:
        """A member's session has expired."""
        if group.members.get(member.id) is not member:
            return
        if member.is_new or (member.joining is None and member.syncing is None):
            self.remove(group, member, f"the session of member {member.id} has expired", now, effects)

    def sync_over(self, group: Group, now: Now, effects: Effects) -> None:
        """The time to sync is up. Remove the members that did not sync."""
        if group.state not in (COMPLETING, STABLE) or not group.pending_sync:
            return
        late = [group.members[member_id] for member_id in sorted(group.pending_sync)]
        for member in late:
            group.remove(member)
        names = ", ".join(member.id for member in late)
        self.rebalance.prepare(group, f"no SyncGroup came in time from {names}", now, effects)

    # -- the end

    def die(self, group: Group, effects: Effects) -> None:
        """The group is no longer coordinated here."""
        group.state = DEAD
        gone = NotCoordinator(f"group {group.id} is no longer coordinated here")
        for member in group.members.values():
            group.answer_join(member, Joined(gone, member.id), effects)
            member.answer_sync(Synced(gone), effects)
            member.when = NEVER
        group.join_timer.when = group.sync_timer.when = NEVER


def replaced(member: Member) -> KafkaError:
    """The error for an older request of ``member`` that still waits."""
    return RebalanceInProgress(f"member {member.id} has asked again since")
