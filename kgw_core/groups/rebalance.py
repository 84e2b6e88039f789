"""Rebalances: how a group gets from one generation to the next."""

from __future__ import annotations

import logging

from kgw_core.config import Groups as GroupSettings
from kgw_core.errors import GroupMaxSizeReached, KafkaError, RebalanceInProgress
from kgw_core.groups.deadlines import NEVER, Deadlines
from kgw_core.groups.events import Effects, Joined, Now, OnWritten, Synced
from kgw_core.groups.group import COMPLETING, EMPTY, PREPARING, Group, Member, vote
from kgw_core.groups.records import PutGroup
from kgw_core.groups.sizes import TOO_LARGE

logger = logging.getLogger("kgw.groups")

RETRY_MS = 1_000
"""When to retry after the record of an empty generation could not be written."""


class Rebalance:
    """Part of the rules in :mod:`kgw_core.groups.machine`, whose table says when one begins."""

    def __init__(self, settings: GroupSettings, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._initial_delay_ms = int(settings.initial_rebalance_delay * 1000)
        self._unwritten: set[str] = set()  # groups for which a failed write was logged

    def prepare(self, group: Group, why: str, now: Now, effects: Effects) -> None:
        """Begin a rebalance: all members have to join again."""
        if group.state is COMPLETING:
            self.fail_syncs(group, RebalanceInProgress(f"group {group.id}: {why}"), effects, now)
        group.pending_sync.clear()
        group.sync_timer.when = NEVER
        group.initial = group.state is EMPTY
        group.state = PREPARING
        logger.info("group %s rebalances after generation %d: %s", group.id, group.generation, why)
        if group.initial:
            delay = self._initial_delay_ms
            group.new_member_added = False
            group.initial_left_ms = max(group.rebalance_ms() - delay, 0)
            self._deadlines.set(group.join_timer, now.ms + delay)
        else:
            self._deadlines.set(group.join_timer, now.ms + group.rebalance_ms())
            self.maybe_complete(group, now, effects)

    def fail_syncs(self, group: Group, error: KafkaError, effects: Effects, now: Now) -> None:
        """Answer all SyncGroups that wait with ``error``."""
        for member in group.members.values():
            if member.answer_sync(Synced(error), effects):
                self._deadlines.renew(member, now.ms)

    def join_over(self, group: Group, now: Now, effects: Effects) -> None:
        """The time to join is up."""
        if group.state is not PREPARING:
            return
        if group.initial and group.new_member_added and group.initial_left_ms:
            delay = min(self._initial_delay_ms, group.initial_left_ms)
            group.new_member_added = False
            group.initial_left_ms -= delay
            self._deadlines.set(group.join_timer, now.ms + delay)
            return
        self.complete(group, now, effects)

    def maybe_complete(self, group: Group, now: Now, effects: Effects) -> None:
        """Complete the rebalance if all members have joined."""
        if group.state is PREPARING and not group.initial and not group.writing and group.all_joined:
            self.complete(group, now, effects)

    def complete(self, group: Group, now: Now, effects: Effects) -> None:
        """Make the next generation from the members that have joined, and the static members."""
        group.join_timer.when = NEVER
        group.initial = False
        for member in list(group.members.values()):
            if member.joining is None and member.instance_id is None:
                logger.info("group %s: member %s did not join again in time", group.id, member.id)
                group.remove(member)
        self._make_fit(group, effects)
        if group.members and not group.awaiting:
            self._deadlines.set(group.join_timer, now.ms + group.rebalance_ms())
            return
        if not group.members:
            empty = group.record("Empty", group.generation + 1, None, None, now.wall_ms, ())
            group.write([PutGroup(group.id, empty)], self._emptied(group), effects)
            return
        leader = group.members.get(group.leader or "")
        if leader is None or leader.joining is None:
            leader = next(member for member in group.members.values() if member.joining is not None)
        members = [member.record(b"") for member in group.members.values()]
        record = group.record(
            "CompletingRebalance", group.generation + 1, vote(group.members.values()), leader.id,
            now.wall_ms, members,
        )  # fmt: skip
        group.write([PutGroup(group.id, record)], self._completed(group), effects)

    @staticmethod
    def _make_fit(group: Group, effects: Effects) -> None:
        """Remove the newest members while the group's record is too large. Only a group that was stored
        before records had a limit can be too large."""
        for member in reversed(list(group.members.values())):
            if group.fits():
                return
            full = GroupMaxSizeReached(f"group {group.id} takes no more: with this member {TOO_LARGE}")
            group.answer_join(member, Joined(full, ""), effects)
            group.remove(member)

    def _emptied(self, group: Group) -> OnWritten:
        def emptied(error: KafkaError | None, now: Now, effects: Effects) -> None:
            if error is None:
                self._unwritten.discard(group.id)
                logger.info("group %s is empty after generation %d", group.id, group.generation - 1)
                return
            if group.id not in self._unwritten:  # one line, not one for each retry
                self._unwritten.add(group.id)
                logger.warning(
                    "group %s: the record of its empty generation could not be written, retrying: %s",
                    group.id,
                    error,
                )
            self._deadlines.set(group.join_timer, now.ms + RETRY_MS)

        return emptied

    def _completed(self, group: Group) -> OnWritten:
        def completed(error: KafkaError | None, now: Now, effects: Effects) -> None:
            if error is not None:
                self._not_completed(group, error, now, effects)
                return
            logger.info(
                "group %s has generation %d: %d member(s), %s/%s, led by %s",
                group.id, group.generation, len(group.members), group.protocol_type, group.protocol_name,
                group.leader,
            )  # fmt: skip
            for member in group.members.values():
                group.answer_join(member, self.joined(group, member), effects)
                member.is_new = False
                self._deadlines.renew(member, now.ms)
                group.pending_sync.add(member.id)
            self._deadlines.set(group.sync_timer, now.ms + group.rebalance_ms())

        return completed

    def _not_completed(self, group: Group, error: KafkaError, now: Now, effects: Effects) -> None:
        for member in list(group.members.values()):
            if group.answer_join(member, Joined(error, "" if member.is_new else member.id), effects):
                self._deadlines.renew(member, now.ms)
            if member.is_new:
                group.remove(member)
        again = group.rebalance_ms() if group.members else RETRY_MS
        self._deadlines.set(group.join_timer, now.ms + again)

    def joined(self, group: Group, member: Member) -> Joined:
        """The answer that tells ``member`` the current generation."""
        return Joined(
            None,
            member.id,
            group.generation,
            group.protocol_type,
            group.protocol_name,
            group.leader or "",
            False,
            group.for_leader() if member.id == group.leader else (),
        )
