"""OffsetCommit, OffsetDelete, and the offsets of deleted topics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from kgw_core.errors import GroupIdNotFound, IllegalGeneration, KafkaError, NonEmptyGroup
from kgw_core.groups import offsets
from kgw_core.groups.events import Effects, Now, Token, Write
from kgw_core.groups.group import DEAD, EMPTY, Group
from kgw_core.groups.machine import Machine
from kgw_core.groups.records import Committed, DropOffset, PutOffset, Record
from kgw_core.groups.table import GroupTable


class Commits:
    """The committed offsets of all ``groups``. Like the coordinator it does no I/O.

    Several commits of one group may be in flight at a time, also while its own record is being written.
    """

    def __init__(self, groups: GroupTable, machine: Machine) -> None:
        self._groups = groups
        self._machine = machine

    def commit(
        self,
        group_id: str,
        generation: int,
        member_id: str,
        instance_id: str | None,
        committed: Iterable[tuple[str, int, Committed]],
        token: Token,
        now: Now,
        *,
        tells_unknown: bool = False,
    ) -> Effects:
        """An OffsetCommit of (topic, partition, offset). ``token`` gets an error or None.

        ``tells_unknown``: the client knows GROUP_ID_NOT_FOUND (v9).

        :raises KafkaError: the commit is refused.
        """
        groups = self._groups
        if groups.loading or groups.stopped:
            groups.check(group_id, may_be_empty=True)
        group = groups.get(group_id)
        if group is None:
            if generation >= 0:
                if tells_unknown:
                    raise GroupIdNotFound(f"there is no group {group_id}")
                raise IllegalGeneration(f"there is no group {group_id}")
            groups.check(group_id, may_be_empty=True)
            group = groups[group_id] = Group(group_id)
        offsets.may_commit(self._machine, group, generation, member_id, instance_id, now.ms)
        effects = Effects()
        records = [PutOffset(group_id, topic, partition, offset) for topic, partition, offset in committed]
        self.write(group, records, token, effects)
        return effects

    def write(self, group: Group, records: Sequence[Record], token: Token, effects: Effects) -> None:
        """Write offsets. ``token`` gets an error or None."""
        group.in_flight += 1

        def written(error: KafkaError | None, now: Now, effects: Effects) -> None:
            group.in_flight -= 1
            effects.replies.append((token, error))

        effects.writes.append(Write(group.id, records, written, False))

    def delete(
        self, group_id: str, partitions: Iterable[tuple[str, int]], token: Token
    ) -> tuple[Effects, set[str]]:
        """An OffsetDelete. ``token`` gets an error or None. Return also the topics that the group subscribes
        to; their offsets are kept.

        :raises GroupIdNotFound: there is no such group.
        :raises NonEmptyGroup: its members are no consumers, so their subscriptions are not known.
        """
        self._groups.check(group_id)
        group = self._groups.get(group_id)
        if group is None or group.state is DEAD:
            raise GroupIdNotFound(f"there is no group {group_id}")
        asked = list(partitions)
        subscribed: set[str] = set()
        if group.state is not EMPTY:
            if group.protocol_type != "consumer":
                raise NonEmptyGroup(f"group {group_id} has members")
            subscribed = {topic for topic, _ in asked if group.is_subscribed_to(topic)}
        records = [
            DropOffset(group_id, topic, partition) for topic, partition in asked if topic not in subscribed
        ]
        effects = Effects()
        if records:
            self.write(group, records, token, effects)
        else:
            effects.reply(token, None)
        return effects, subscribed

    def topic_deleted(self, topic: str, partitions: range, token: Callable[[], Token]) -> Effects:
        """Drop the offsets of a deleted topic's partitions in every group. For each group a ``token`` gets an
        error or None."""
        effects = Effects()
        for group in self._groups.values():
            known = group.offsets.get(topic, ())
            if known or group.in_flight:  # a commit in flight may add any of them
                dropped = [each for each in partitions if group.in_flight or each in known]
                records = [DropOffset(group.id, topic, each) for each in dropped]
            else:
                records = []
            if records:
                self.write(group, records, token(), effects)
        return effects

    def drop(self, records: Sequence[DropOffset], token: Token) -> Effects:
        """Drop these offsets of one group. ``token`` gets an error or None."""
        effects = Effects()
        self.write(self._groups[records[0].group_id], records, token, effects)
        return effects
