"""Committed offsets: who may commit them, and when they expire. Like ``machine``, this does no I/O."""

from __future__ import annotations

from collections.abc import Iterator

from kgw_core.errors import CoordinatorNotAvailable, UnknownMemberId
from kgw_core.groups.group import DEAD, EMPTY, STABLE, Group, Member
from kgw_core.groups.machine import COMMIT, Machine
from kgw_core.groups.records import Committed, DropOffset, PutOffset
from kgw_core.groups.subscriptions import CONSUMER


def may_commit(
    machine: Machine,
    group: Group,
    generation: int,
    member_id: str,
    instance_id: str | None,
    now_ms: int,
    *,
    transactional: bool = False,
) -> None:
    """Return if this client may commit. A member's commit renews its session.

    A client with generation -1 and no member id is a consumer that assigns its partitions itself, or an
    admin tool. It may commit while the group has no members.

    :raises KafkaError: the client may not commit.
    """
    state = group.state
    if state is DEAD or group.deleting:
        raise CoordinatorNotAvailable(f"group {group.id} is gone")
    member: Member | None = None
    if generation < 0 and state is EMPTY:
        return
    if generation >= 0 or member_id or instance_id is not None:
        member = group.members.get(member_id)
        if member is None or generation != group.generation or instance_id is not None:
            member = machine.current_member(group, generation, member_id, instance_id)
    elif not transactional and state is not EMPTY:
        raise UnknownMemberId(f"group {group.id} has members; only they may commit")
    refusal = COMMIT[state]
    if refusal is not None:
        raise refusal(f"group {group.id} is {state.value}")
    if member is not None:
        when = member.when = now_ms + member.session_ms
        if when < member.queued:
            machine.deadlines.set(member, when)


def apply(group: Group, record: PutOffset | DropOffset) -> None:
    """Apply a record: the same code after a commit and at a replay."""
    offsets = group.offsets
    if type(record) is PutOffset:
        partitions = offsets.get(record.topic)
        if partitions is None:
            partitions = offsets[record.topic] = {}
        partitions[record.partition] = record.committed
        return
    partitions = offsets.get(record.topic)
    if partitions is not None and partitions.pop(record.partition, None) is not None and not partitions:
        del offsets[record.topic]
    for pending in group.transactions.values():
        pending.pop((record.topic, record.partition), None)


def drop_all(group: Group) -> list[DropOffset]:
    """The records that drop all offsets of a group."""
    keys = {(topic, partition) for topic, partition, _ in group.each_offset()}
    for pending in group.transactions.values():
        keys.update(pending)
    return [DropOffset(group.id, topic, partition) for topic, partition in sorted(keys)]


def expired(group: Group, wall_ms: int, retention_ms: int) -> Iterator[DropOffset]:
    """The offsets that have expired.

    - A group without members keeps its offsets for ``retention_ms`` after it lost the last member.
    - A stable consumer group keeps the offsets of topics that it does not subscribe to for ``retention_ms``
      after the commit.
    - So does a group without a protocol type: a consumer that assigns its partitions itself.
    - If the client gave a retention time of its own (OffsetCommit v2 to v4), that counts instead.
    """
    subscribed: frozenset[str] = frozenset()
    since: int | None = None
    if group.protocol_type is None:
        if group.state is not EMPTY:
            return
    elif group.state is EMPTY:
        since = group.since
    elif group.protocol_type == CONSUMER and group.state is STABLE:
        topics = group.subscribed()
        if topics is None:
            return
        subscribed = topics
    else:
        return
    for topic, partition, committed in group.each_offset():
        if topic in subscribed or group.has_pending_offset(topic, partition):
            continue
        if committed.expires_ms >= 0:
            over = wall_ms >= committed.expires_ms
        else:
            over = wall_ms - (committed.time_ms if since is None else since) >= retention_ms
        if over:
            yield DropOffset(group.id, topic, partition)


def find(group: Group | None, topic: str, partition: int) -> Committed | None:
    """The group's committed offset of a partition."""
    return group.offsets.get(topic, {}).get(partition) if group is not None else None
