"""The group coordinator: takes events, gives answers, records to commit and deadlines.

Rules:

1. The coordinator does no I/O and reads no clock. Its driver (:mod:`service`) commits each :class:`Write` of
   the effects in order, reports the outcome to :meth:`Coordinator.committed`, and does the same with the
   effects of that call.
2. Only :meth:`Coordinator.apply` changes a group by a record, after a commit and at replay.
3. While a group's own record is being written, other changes of the group wait in its ``deferred``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from kgw_core.config import Groups as GroupSettings
from kgw_core.errors import (
    CoordinatorLoadInProgress,
    CoordinatorNotAvailable,
    GroupIdNotFound,
    InvalidSessionTimeout,
    KafkaError,
    KafkaStorageError,
    MessageTooLarge,
    NonEmptyGroup,
    NotCoordinator,
    NotLeaderOrFollower,
    RebalanceInProgress,
    UnknownMemberId,
    UnknownServerError,
)
from kgw_core.groups import offsets
from kgw_core.groups.commits import Commits
from kgw_core.groups.deadlines import NEVER, Deadline, Deadlines
from kgw_core.groups.events import Effects, Join, Joined, Leaving, Now, Sync, Synced, Token, Write
from kgw_core.groups.group import DEAD, EMPTY, Group, GroupTimer, Member, PendingMember
from kgw_core.groups.joining import Joining
from kgw_core.groups.machine import Machine
from kgw_core.groups.records import DropGroup, DropOffset, PutGroup, PutOffset, Record
from kgw_core.groups.table import GroupTable

logger = logging.getLogger("kgw.groups")

FAULT_MS = 30_000
"""When a deadline is retried after a fault of the gateway."""


class Coordinator:
    """See the module's docstring. ``new_id`` makes the unique part of a member id.

    ``groups`` has all groups by id, ``commits`` the requests about committed offsets.
    """

    def __init__(self, settings: GroupSettings, new_id: Callable[[], str]) -> None:
        self.settings = settings
        self.groups = GroupTable()
        self.deadlines = Deadlines()
        self.faults: dict[Deadline, Exception] = {}
        """Deadlines that failed with a fault of the gateway and are retried."""
        self.machine = Machine(settings, self.deadlines)
        self.commits = Commits(self.groups, self.machine)
        self._joining = Joining(self.machine, new_id)
        self._min_session_ms = int(settings.min_session_timeout * 1000)
        self._max_session_ms = int(settings.max_session_timeout * 1000)

    # -- membership

    def join(self, join: Join, token: Token, now: Now) -> Effects:
        """A JoinGroup. ``token`` gets a :class:`Joined`."""
        effects = Effects()
        try:
            self.groups.check(join.group_id)
            if not self._min_session_ms <= join.session_ms <= self._max_session_ms:
                raise InvalidSessionTimeout(
                    f"a session timeout of {join.session_ms} ms is not within"
                    f" {self._min_session_ms} to {self._max_session_ms} ms"
                )
        except KafkaError as error:
            effects.reply(token, Joined(error, join.member_id))
        else:
            self._join(join, token, now, effects)
        return effects

    def _join(self, join: Join, token: Token, now: Now, effects: Effects) -> None:
        group = self.groups.get(join.group_id)
        if group is None:
            if join.member_id:
                unknown = UnknownMemberId(f"there is no group {join.group_id}")
                effects.reply(token, Joined(unknown, join.member_id))
                return
            group = self.groups[join.group_id] = Group(join.group_id)
        if group.writing or group.deleting:
            group.deferred.append(lambda now, effects: self._join(join, token, now, effects))
            return
        self._joining.join(group, join, token, now, effects)
        if group.bare:
            del self.groups[group.id]

    def abandoned(self, group_id: str, token: Token, now: Now) -> Effects:
        """The client of ``token`` has disconnected. Remove its member if it does not know its id yet, so that
        a client that retries leaves no members behind."""
        effects = Effects()
        self._abandoned(group_id, token, now, effects)
        return effects

    def _abandoned(self, group_id: str, token: Token, now: Now, effects: Effects) -> None:
        group = self.groups.get(group_id)
        if group is None:
            return
        if group.writing:
            group.deferred.append(lambda now, effects: self._abandoned(group_id, token, now, effects))
            return
        member = next((member for member in group.members.values() if member.joining is token), None)
        if member is not None and member.is_new:
            self.machine.remove(
                group, member, f"the client of new member {member.id} went away", now, effects
            )

    def sync(self, sync: Sync, token: Token, now: Now) -> Effects:
        """A SyncGroup. ``token`` gets a :class:`Synced`."""
        effects = Effects()
        try:
            self.groups.check(sync.group_id)
        except CoordinatorLoadInProgress:  # clients do not expect this error here, so they have to rejoin
            effects.reply(token, Synced(RebalanceInProgress("groups are being loaded")))
        except KafkaError as error:
            effects.reply(token, Synced(error))
        else:
            self._sync(sync, token, now, effects)
        return effects

    def _sync(self, sync: Sync, token: Token, now: Now, effects: Effects) -> None:
        group = self.groups.get(sync.group_id)
        if group is None:
            effects.reply(token, Synced(UnknownMemberId(f"there is no group {sync.group_id}")))
        elif group.writing:
            group.deferred.append(lambda now, effects: self._sync(sync, token, now, effects))
        else:
            self.machine.sync(group, sync, token, now, effects)

    def heartbeat(
        self, group_id: str, generation: int, member_id: str, instance_id: str | None, now_ms: int
    ) -> None:
        """A Heartbeat. :raises KafkaError: the error for the member."""
        groups = self.groups
        group = groups.get(group_id)
        if group is None or not group_id or groups.loading or groups.stopped:
            try:
                groups.check(group_id)
            except CoordinatorLoadInProgress:
                return  # clients do not expect this error here
            raise UnknownMemberId(f"there is no group {group_id}")
        self.machine.heartbeat(group, generation, member_id, instance_id, now_ms)

    def leave(self, group_id: str, leaving: Sequence[Leaving], token: Token, now: Now) -> Effects:
        """A LeaveGroup. ``token`` gets an error or None for each member.

        :raises KafkaError: the whole request is refused.
        """
        self.groups.check(group_id)
        effects = Effects()
        self._leave(group_id, leaving, [], token, now, effects)
        return effects

    def _leave(
        self, group_id: str, leaving: Sequence[Leaving], outcomes: list[KafkaError | None], token: Token,
        now: Now, effects: Effects,
    ) -> None:  # fmt: skip
        group = self.groups.get(group_id)
        for one in leaving[len(outcomes) :]:
            if group is not None and group.writing:
                group.deferred.append(
                    lambda now, effects: self._leave(group_id, leaving, outcomes, token, now, effects)
                )
                return
            try:
                if group is None:
                    raise UnknownMemberId(f"there is no group {group_id}")
                self.machine.leave(group, one, now, effects)
            except KafkaError as error:
                outcomes.append(error)
            else:
                outcomes.append(None)
        if group is not None and group.bare:
            del self.groups[group.id]
        effects.reply(token, outcomes)

    # -- deletion

    def delete_group(self, group_id: str, token: Token, now: Now) -> Effects:
        """A DeleteGroups of one group. ``token`` gets an error or None.

        :raises KafkaError: the request is refused.
        """
        self.groups.check(group_id, may_be_empty=True)
        effects = Effects()
        self._delete(group_id, token, now, effects)
        return effects

    def _delete(self, group_id: str, token: Token, now: Now, effects: Effects) -> None:
        group = self.groups.get(group_id)
        if group is not None:
            group.deleting = False
        if group is None:
            effects.reply(token, GroupIdNotFound(f"there is no group {group_id}"))
        elif group.writing or (group.in_flight and group.state is EMPTY):
            group.deleting = not group.writing  # refuse new commits, and wait for those in flight
            group.deferred.append(lambda now, effects: self._delete(group_id, token, now, effects))
        elif group.state is DEAD:
            effects.reply(token, CoordinatorNotAvailable(f"group {group_id} is gone"))
        elif group.state is not EMPTY:
            effects.reply(token, NonEmptyGroup(f"group {group_id} has members"))
        else:
            self._drop(group, token, effects)

    def _drop(self, group: Group, token: Token, effects: Effects) -> None:
        group.deleting = True

        def dropped(error: KafkaError | None, now: Now, effects: Effects) -> None:
            group.deleting = False
            if error is None:
                logger.info("group %s deleted", group.id)
            effects.reply(token, error)

        records: list[Record] = [*offsets.drop_all(group), DropGroup(group.id)]
        group.write(records, dropped, effects)

    def expire(self, group_id: str, now: Now) -> Effects:
        """Drop the group's expired offsets, and an empty group with its last offset."""
        effects = Effects()
        group = self.groups.get(group_id)
        if group is None or group.writing or group.in_flight or group.deleting:
            return effects  # wait for the next check
        records = list(offsets.expired(group, now.wall_ms, int(self.settings.offsets_retention * 1000)))
        left = sum(map(len, group.offsets.values())) - len(records)
        if left == 0 and group.state is EMPTY and not group.pending and not group.transactions:
            self._drop(group, None, effects)
        elif records:
            self.commits.write(group, records, None, effects)
        if records:
            logger.info("group %s: %d offsets have expired and are dropped", group_id, len(records))
        return effects

    # -- time

    def due(self, now: Now) -> Effects:
        """Handle the deadlines that have come."""
        effects = Effects()
        for deadline in self.deadlines.due(now.ms):
            try:
                self._due(deadline, now, effects)
            except Exception as error:  # the other deadlines and their effects are still handled
                self.faults[deadline] = error
                self.deadlines.set(deadline, now.ms + FAULT_MS)
            else:
                self.faults.pop(deadline, None)
        return effects

    def _due(self, deadline: Deadline, now: Now, effects: Effects) -> None:
        assert isinstance(deadline, Member | PendingMember | GroupTimer)
        group = self.groups.get(deadline.group_id)
        if group is None or group.state is DEAD:
            return
        if group.writing:
            group.deferred.append(lambda now, effects: self._due_again(deadline, now, effects))
        elif isinstance(deadline, Member):
            self.machine.session_over(group, deadline, now, effects)
        elif isinstance(deadline, PendingMember):
            if group.pending.pop(deadline.id, None) is not None:
                self.machine.rebalance.maybe_complete(group, now, effects)
                if group.bare:
                    del self.groups[group.id]
        elif deadline is group.join_timer:
            self.machine.rebalance.join_over(group, now, effects)
        elif deadline is group.sync_timer:
            self.machine.sync_over(group, now, effects)

    def _due_again(self, deadline: Deadline, now: Now, effects: Effects) -> None:
        if deadline.when == NEVER:  # it has not been set again meanwhile
            self._due(deadline, now, effects)

    # -- records

    def committed(self, write: Write, error: Exception | None, now: Now) -> Effects:
        """A write is done or has failed: apply it, answer waiting requests, and run the group's deferred
        changes. A fault in one of these steps stops none of the others."""
        effects = Effects()
        group = self.groups.get(write.group_id)
        if error is None:
            for record in write.records:
                try:
                    self.apply(record)
                except Exception as fault:
                    effects.faults += ((write.group_id, fault),)
                    error = fault
        if write.alone and group is not None:
            group.writing = False
        try:
            write.on_written(client_error(error), now, effects)
        except Exception as fault:
            effects.faults += ((write.group_id, fault),)
        if group is not None:
            while group.deferred and not group.writing and not (group.deleting and group.in_flight):
                try:
                    group.deferred.popleft()(now, effects)
                except Exception as fault:
                    effects.faults += ((write.group_id, fault),)
        return effects

    def apply(self, record: Record) -> None:
        """Apply a record: the same code after a commit and at a replay."""
        if type(record) is PutOffset:
            offsets.apply(self.groups.get_or_create(record.group_id), record)
        elif type(record) is PutGroup:
            self.groups.get_or_create(record.group_id).take(record.group)
        elif (group := self.groups.get(record.group_id)) is not None:
            if type(record) is DropOffset:
                offsets.apply(group, record)
            else:
                group.state = DEAD
                del self.groups[group.id]

    # -- beginning and end

    def loaded(self, now: Now) -> Effects:
        """All stored records have been applied: begin to serve. Sessions begin anew."""
        effects = Effects()
        most = self.settings.max_size
        for group in list(self.groups.values()):
            for member in group.members.values():
                self.deadlines.renew(member, now.ms)
            if group.state.value == "CompletingRebalance":
                group.pending_sync = set(group.members)
                self.deadlines.set(group.sync_timer, now.ms + group.rebalance_ms())
            if most is not None and len(group.members) > most:
                self.machine.rebalance.prepare(group, f"more than {most} members were loaded", now, effects)
        self.groups.loading = False
        return effects

    def stop(self) -> Effects:
        """The gateway stops: waiting requests are answered with NOT_COORDINATOR."""
        self.groups.stopped = True
        effects = Effects()
        for group in self.groups.values():
            self.machine.die(group, effects)
        return effects


def client_error(error: Exception | None) -> KafkaError | None:
    """The error for the clients of a write that failed. They have to find the coordinator again and retry; if
    the write was too large they get UNKNOWN_SERVER_ERROR, as in Kafka."""
    if error is None:
        return None
    if isinstance(error, MessageTooLarge):
        return UnknownServerError(f"group state cannot be written: {error}")
    if isinstance(error, KafkaStorageError | NotLeaderOrFollower | NotCoordinator):
        return NotCoordinator(f"group state cannot be written: {error}")
    return CoordinatorNotAvailable(f"group state cannot be written: {error}")


def stored_state(coordinator: Coordinator) -> dict[str, Any]:
    """The stored part of each group, to compare a coordinator with a replay of its records."""
    found: dict[str, Any] = {}
    for group in coordinator.groups.values():
        committed = {topic: dict(parts) for topic, parts in group.offsets.items()}
        found[group.id] = (group.stored_record(), committed)
    return found
