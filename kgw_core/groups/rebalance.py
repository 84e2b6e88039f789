"""From one generation of a group to the next: who is waited for, and what comes of it."""

from __future__ import annotations

import logging

from kgw_core.config import Groups as GroupSettings
from kgw_core.errors import GroupMaxSizeReached, KafkaError, RebalanceInProgress
from kgw_core.groups.deadlines import NEVER, Deadlines
from kgw_core.groups.events import Effects, Joined, Now, Synced, Then
from kgw_core.groups.group import COMPLETING, EMPTY, PREPARING, Group, Member, vote
from kgw_core.groups.records import PutGroup
from kgw_core.groups.sizes import TOO_LARGE

logger = logging.getLogger("kgw.groups")

RETRY_MS = 1_000
"""When to try again where it could not be written that a group is empty."""


class Rebalance:
    """Part of the rules in :mod:`kgw_core.groups.machine`, whose table says when one begins."""

    def __init__(self, settings: GroupSettings, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._initial_delay_ms = int(settings.initial_rebalance_delay * 1000)
        self._unwritten: set[str] = set()  # groups of which this was told

    def prepare(self, group: Group, why: str, now: Now, effects: Effects) -> None:
        """Begin a rebalance: everybody is to join again."""
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
        """Whoever waits for an assignment gets ``error``."""
        for member in group.members.values():
            if member.syncing is not None:
                effects.reply(member.syncing, Synced(error))
                member.syncing = None
                self._deadlines.renew(member, now.ms)

    def join_over(self, group: Group, now: Now, effects: Effects) -> None:
        """The time in which members had to join is up."""
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
        """Go on if nobody is waited for any more."""
        if group.state is PREPARING and not group.initial and not group.writing and group.all_joined:
            self.complete(group, now, effects)

    def complete(self, group: Group, now: Now, effects: Effects) -> None:
        """Make the next generation of those who have joined, and of static members."""
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
        """Take out who came last while the group's record is too large: one that was kept before records had
        their limit."""
        for member in reversed(list(group.members.values())):
            if group.fits():
                return
            full = GroupMaxSizeReached(f"group {group.id} takes no more: with this member {TOO_LARGE}")
            effects.reply(member.joining, Joined(full, ""))
            group.set_joining(member, None)
            group.remove(member)

    def _emptied(self, group: Group) -> Then:
        def emptied(error: KafkaError | None, now: Now, effects: Effects) -> None:
            if error is None:
                self._unwritten.discard(group.id)
                logger.info("group %s is empty after generation %d", group.id, group.generation - 1)
                return
            if group.id not in self._unwritten:  # once, not once a try
                self._unwritten.add(group.id)
                logger.warning(
                    "group %s: that it is empty could not be written, and is tried again: %s", group.id, error
                )
            self._deadlines.set(group.join_timer, now.ms + RETRY_MS)

        return emptied

    def _completed(self, group: Group) -> Then:
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
                if member.joining is not None:
                    effects.reply(member.joining, self.joined(group, member))
                    group.set_joining(member, None)
                member.is_new = False
                self._deadlines.renew(member, now.ms)
                group.pending_sync.add(member.id)
            self._deadlines.set(group.sync_timer, now.ms + group.rebalance_ms())

        return completed

    def _not_completed(self, group: Group, error: KafkaError, now: Now, effects: Effects) -> None:
        for member in list(group.members.values()):
            if member.joining is not None:
                effects.reply(member.joining, Joined(error, "" if member.is_new else member.id))
                group.set_joining(member, None)
                self._deadlines.renew(member, now.ms)
            if member.is_new:
                group.remove(member)
        again = group.rebalance_ms() if group.members else RETRY_MS
        self._deadlines.set(group.join_timer, now.ms + again)

    def joined(self, group: Group, member: Member) -> Joined:
        """The current generation, as ``member`` is told of it."""
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
