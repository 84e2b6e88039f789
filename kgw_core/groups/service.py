"""Drives the coordinator in the server: gives it the time, commits its records, sends its answers.

No method but load, stop and the background work waits. One timer serves all deadlines of all groups, and one
:class:`StateWriter` all commits.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeAlias
from uuid import uuid4

import anyio.lowlevel
import msgspec

from kgw_core.background import Background, Faults, Tries
from kgw_core.clock import Clock, Timer
from kgw_core.config import Groups as GroupSettings
from kgw_core.errors import CoordinatorNotAvailable, GroupIdNotFound, KafkaError
from kgw_core.events import shown
from kgw_core.groups.coordinator import Coordinator
from kgw_core.groups.deadlines import NEVER
from kgw_core.groups.events import Effects, Join, Joined, Leaving, Now, Sync, Synced, Write
from kgw_core.groups.group import Group
from kgw_core.groups.records import PREFIX, Committed, DropOffset, decode, encode, has_no_slot
from kgw_core.pending import Pending
from kgw_core.spi.state import StateStore, check_changes
from kgw_core.state.writer import StateWriter

logger = logging.getLogger("kgw.groups")

COARSE_MS, COARSE_FROM_MS = 100, 5_000
"""Deadlines further away than ``COARSE_FROM_MS`` may be met ``COARSE_MS`` late, several at a time."""

LOAD_SECONDS = 5.0
"""The longest pause between two attempts to load the groups. Clients wait meanwhile."""
_PIECE = 500
"""How many records are made or applied before the event loop serves others."""
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, msgspec.DecodeError)
"""Errors of a stored record that cannot be read. The other records are served."""

_Outcome: TypeAlias = "Pending[KafkaError | None]"


class GroupService:
    """The groups of a gateway.

    ``topic_id(name)`` gives the 16 bytes of a topic's id, or None if there is no such topic. ``spawn`` starts
    a coroutine that nobody waits for. The groups are served when :meth:`load` has returned.
    """

    def __init__(
        self,
        settings: GroupSettings,
        store: StateStore,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        topic_id: Callable[[str], bytes | None],
        new_id: Callable[[], str] = lambda: str(uuid4()),
        background: Background | None = None,
    ) -> None:
        self.settings = settings
        self.coordinator = Coordinator(settings, new_id)
        self._nameless: dict[Pending[Any], str] = {}  # new members that got an error before their id
        self._waiting: dict[str, dict[Pending[Any], Callable[[KafkaError], Any]]] = {}  # by group
        self._clock = clock
        self._background = background or Background(clock, spawn)
        self.writer = StateWriter(store, spawn, "groups", self._background)
        self._dropping = self._background.chore("dropping offsets of deleted topics", self._drop_left)
        self._coordinates: bool | None = None  # None: not decided, or this is the only gateway
        self._turns = 0  # how often that has changed
        self._handing_over = self._background.chore("loading groups", self._hand_over)
        self._deadlines = Tries("deadlines of groups", self._background)
        self._topic_id = topic_id
        self._todo: deque[Effects] = deque()
        self._running = False
        self._faulty: dict[str, KafkaError] = {}  # groups that met a fault in the run under way
        self._timer: Timer | None = None
        self._timer_at = NEVER

    # -- requests

    def join(self, join: Join) -> Pending[Joined]:
        """A JoinGroup."""
        token: Pending[Joined] = Pending()
        token.on_abandon = lambda: self._run(self.coordinator.abandoned(join.group_id, token, self._now()))
        self._run(self.coordinator.join(join, token, self._now()))
        self._wait(join.group_id, token, lambda error: Joined(error, join.member_id))
        return token

    def sync(self, sync: Sync) -> Pending[Synced]:
        """A SyncGroup."""
        token: Pending[Synced] = Pending()
        self._run(self.coordinator.sync(sync, token, self._now()))
        self._wait(sync.group_id, token, Synced)
        return token

    def heartbeat(self, group_id: str, generation: int, member_id: str, instance_id: str | None) -> None:
        """A Heartbeat. :raises KafkaError: the error for the member."""
        now_ms = int(self._clock.monotonic() * 1000)
        self.coordinator.heartbeat(group_id, generation, member_id, instance_id, now_ms)

    def leave(self, group_id: str, leaving: Sequence[Leaving]) -> Pending[list[KafkaError | None]]:
        """A LeaveGroup: an error or None for each member. :raises KafkaError: the request is refused."""
        token: Pending[list[KafkaError | None]] = Pending()
        self._run(self.coordinator.leave(group_id, leaving, token, self._now()))
        self._wait(group_id, token, lambda error: [error] * len(leaving))
        return token

    def commit(
        self,
        group_id: str,
        generation: int,
        member_id: str,
        instance_id: str | None,
        committed: Iterable[tuple[str, int, Committed]],
        *,
        tells_unknown: bool = False,
    ) -> Pending[KafkaError | None]:
        """An OffsetCommit. :raises KafkaError: the commit is refused."""
        token: Pending[KafkaError | None] = Pending()
        effects = self.coordinator.commits.commit(
            group_id, generation, member_id, instance_id, committed, token, self._now(),
            tells_unknown=tells_unknown,
        )  # fmt: skip
        self._run(effects)
        self._wait(group_id, token, _itself)
        return token

    def delete_offsets(
        self, group_id: str, partitions: Iterable[tuple[str, int]]
    ) -> tuple[Pending[KafkaError | None], set[str]]:
        """An OffsetDelete, and the topics that the group subscribes to; their offsets are kept.

        :raises KafkaError: the request is refused.
        """
        token: Pending[KafkaError | None] = Pending()
        effects, subscribed = self.coordinator.commits.delete(group_id, partitions, token)
        self._run(effects)
        self._wait(group_id, token, _itself)
        return token, subscribed

    def delete_group(self, group_id: str) -> Pending[KafkaError | None]:
        """A DeleteGroups of one group. :raises KafkaError: the request is refused."""
        token: Pending[KafkaError | None] = Pending()
        self._run(self.coordinator.delete_group(group_id, token, self._now()))
        self._wait(group_id, token, _itself)
        return token

    def find(self, group_id: str) -> Group:
        """A group to describe.

        :raises GroupIdNotFound: there is no such group.
        :raises KafkaError: groups are not served now.
        """
        self.coordinator.groups.check(group_id, may_be_empty=True)
        group = self.coordinator.groups.get(group_id)
        if group is None:
            raise GroupIdNotFound(f"Group {group_id} not found.")
        return group

    async def topic_deleted(self, name: str, partitions: int) -> None:
        """Drop the offsets of a deleted topic. No topic of its name may be created before this returns."""
        for first in range(0, partitions, _PIECE):
            if first:
                await anyio.lowlevel.checkpoint()
            if self.coordinator.groups.loading:  # load() drops the offsets of deleted topics itself
                return
            gone = range(first, min(first + _PIECE, partitions))
            self._run(self.coordinator.commits.topic_deleted(name, gone, self._dropped))

    # -- effects

    def _now(self) -> Now:
        return Now(int(self._clock.monotonic() * 1000), self._clock.time_ms())

    def _run(self, effects: Effects) -> None:
        """Commit the records and send the answers of ``effects``, then of the effects that follow from
        them."""
        self._todo.append(effects)
        if self._running:
            return
        self._running = True
        self._faulty.clear()
        try:
            while self._todo:
                effects = self._todo.popleft()
                for write in effects.writes:
                    self._submit(write)
                for token, answer in effects.replies:
                    if token is not None:
                        token.resolve(answer)
                        if token in self._nameless:
                            self._leave_nameless(token, answer)
                for group_id, fault in effects.faults:
                    self._met_fault(group_id, fault)
        finally:
            self._running = False
        if self.coordinator.deadlines.next() < self._timer_at:
            self._set_timer()

    def _submit(self, write: Write) -> None:
        timer: Timer | None = None
        try:
            changes = dict(map(encode, write.records))
            if not self.writer.immediate:  # it joins several writes into one commit
                check_changes(changes)
        except Exception as error:
            if not isinstance(error, KafkaError):
                logger.exception("group %s: its records cannot be written", write.group_id)
            self._run(self.coordinator.committed(write, error, self._now()))
            return
        if not self.writer.immediate:
            timer = self._clock.call_later(self.settings.commit_timeout, lambda: self._overdue(write))

        def written(error: Exception | None) -> None:
            if timer is not None:
                timer.cancel()
            self._run(self.coordinator.committed(write, error, self._now()))

        self.writer.submit(changes, written)

    # -- writes whose outcome is overdue

    def _wait(self, group_id: str, token: Pending[Any], answer: Callable[[KafkaError], Any]) -> None:
        """Let ``token`` wait. If a write of the group is overdue, ``token`` gets ``answer(error)``."""
        if token.done:
            return
        waiting = self._waiting.setdefault(group_id, {})
        waiting[token] = answer
        if group_id in self._faulty:  # an immediate store had this request's write at once
            self._refuse_waiting(group_id, self._faulty[group_id])
            return

        def answered(token: Pending[Any]) -> None:
            waiting.pop(token, None)
            if not waiting and self._waiting.get(group_id) is waiting:
                del self._waiting[group_id]

        token.then(answered)

    def _overdue(self, write: Write) -> None:
        """The outcome of ``write`` is overdue: the requests that wait in its group get a retriable error."""
        seconds = self.settings.commit_timeout
        logger.warning("group %s: the state has not answered a write within %g s", write.group_id, seconds)
        self._refuse_waiting(
            write.group_id,
            CoordinatorNotAvailable(f"the state has not answered a write within {seconds:g} s"),
        )

    def _met_fault(self, group_id: str, fault: Exception) -> None:
        """A step of the coordinator failed, so the answers that it would have led to are missing."""
        logger.error("group %s: a change of it failed", group_id, exc_info=fault)
        self._faulty[group_id] = CoordinatorNotAvailable(f"the gateway failed at group {group_id}: {fault!r}")
        self._refuse_waiting(group_id, self._faulty[group_id])

    def _refuse_waiting(self, group_id: str, error: KafkaError) -> None:
        """Answer the requests that wait in a group with ``error``, after which clients ask again."""
        for token, answer in list(self._waiting.pop(group_id, {}).items()):
            refusal = answer(error)
            if isinstance(refusal, Joined) and not refusal.member_id:
                self._nameless[token] = group_id
            token.resolve(refusal)

    def _leave_nameless(self, token: Pending[Any], joined: Joined) -> None:
        """Remove a new member that joined after its JoinGroup had been answered with an error. The client
        does not know this member's id and joins again as another member."""
        group_id = self._nameless.pop(token)
        if joined.error is None:
            leaving = [Leaving(joined.member_id, None, "its JoinGroup was answered before it had joined")]
            with contextlib.suppress(KafkaError):  # the gateway stops
                self._run(self.coordinator.leave(group_id, leaving, None, self._now()))

    # -- time

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self._timer_at = self.coordinator.deadlines.next()
        if at != NEVER:
            wait = max(at - int(self._clock.monotonic() * 1000), 0)
            if wait > COARSE_FROM_MS:
                wait += COARSE_MS
            self._timer = self._clock.call_later(wait / 1000, self._due)

    def _due(self) -> None:
        self._timer, self._timer_at = None, NEVER
        if not self.coordinator.groups.stopped:
            try:
                self._run(self.coordinator.due(self._now()))
            finally:
                if self._timer is None:
                    self._set_timer()
            self._tell_faults()

    def _tell_faults(self) -> None:
        faults = self.coordinator.faults
        for deadline, error in list(faults.items()):
            if deadline.when == NEVER:
                del faults[deadline]  # the deadline was unset
            else:
                self._deadlines.failed(error)
        if not faults:
            self._deadlines.succeeded()

    async def upkeep(self) -> None:
        """Drop expired offsets and groups at intervals, until cancelled."""
        await self._background.every("expiring offsets", self.settings.offsets_check_interval, self.expire)

    async def expire(self) -> None:
        """Drop expired offsets and groups now. :raises PartlyFailed: some groups failed, the others did
        not."""
        if self.coordinator.groups.loading:
            return
        faults = Faults("group(s)")
        for index, group_id in enumerate(list(self.coordinator.groups)):
            try:
                self._run(self.coordinator.expire(group_id, self._now()))
            except Exception as error:
                faults.add(shown(group_id), error)
            if index % 100 == 99:
                await anyio.lowlevel.checkpoint()
        faults.tell()

    # -- beginning and end

    async def load(self) -> None:
        """Read the stored groups, with retries until it succeeds, then serve."""
        await self._background.until_done("loading groups", self._read, LOAD_SECONDS)
        self._begin()

    async def load_once(self) -> None:
        """The same in one attempt. :raises Exception: from the state's scan."""
        await self._read()
        self._begin()

    def coordinates(self, does: bool) -> None:
        """Begin or end to coordinate the groups, if there are several gateways: load them, or give them up.
        The fence ensures that only one gateway writes."""
        if does == self._coordinates and not (does and self.writer.lost):
            return
        # A coordinator that has lost the fence begins anew: another gateway was coordinator in between.
        self._turns += 1
        if self._coordinates or not does:
            self._give_up()
        self._coordinates = does
        self._handing_over.due()

    def _give_up(self) -> None:
        groups = self.coordinator.groups
        self._run(self.coordinator.stop())
        groups.stopped, groups.loading, groups.elsewhere = False, True, True

    async def _hand_over(self) -> None:
        groups = self.coordinator.groups
        turn = self._turns
        if self._coordinates and groups.loading:
            groups.elsewhere = False
            await self.writer.drained()  # writes of an earlier time as coordinator
            if turn == self._turns:
                await self._read()
            if turn == self._turns:  # else others may have written meanwhile, and this is due again
                self._begin()

    async def _read(self) -> None:
        coordinator = self.coordinator
        coordinator.groups.clear()  # an earlier attempt may have failed half-way
        await self.writer.take_over(lazily=True)
        count = 0
        moved: dict[bytes, bytes | None] = {}
        async for entry in self.writer.store.scan(PREFIX):
            try:
                record = decode(entry.key, entry.value)
                coordinator.apply(record)
                if has_no_slot(entry.key):
                    moved[entry.key] = None
                    moved[encode(record)[0]] = entry.value
            except _UNREADABLE as error:
                logger.error("the record under %r cannot be read and is left alone: %r", entry.key, error)
            count += 1
            if count % _PIECE == 0:
                await anyio.lowlevel.checkpoint()
        if count:
            logger.info("%d groups loaded", len(coordinator.groups))
        await self._move(moved)

    async def _move(self, changes: dict[bytes, bytes | None]) -> None:
        """Move records of release 0.1.0 to keys with slots. One commit deletes the old key and puts the new
        one, so that a crash leaves each record once."""
        keys = list(changes)
        for at in range(0, len(keys), 2 * _PIECE):
            await self.writer.committed({key: changes[key] for key in keys[at : at + 2 * _PIECE]})

    def _begin(self) -> None:
        self._run(self.coordinator.loaded(self._now()))
        self._drop_offsets(self._dropped)

    # -- offsets of topics that were deleted

    def _drop_offsets(self, token: Callable[[], _Outcome]) -> list[_Outcome]:
        """Drop offsets of topics that were deleted or created again meanwhile. The outcome of each write goes
        to a ``token``."""
        gone: dict[str, list[DropOffset]] = {}
        for group in self.coordinator.groups.values():
            for topic, partition, committed in group.each_offset():
                if self._topic_id(topic) != committed.topic_id:
                    gone.setdefault(group.id, []).append(DropOffset(group.id, topic, partition))
        outcomes = []
        for records in gone.values():
            outcomes.append(token())
            self._run(self.coordinator.commits.drop(records, outcomes[-1]))
        return outcomes

    def _dropped(self) -> _Outcome:
        """The outcome of a write that drops offsets. If it fails, it is retried in the background."""

        def done(outcome: _Outcome) -> None:
            if outcome.result() is not None:
                self._dropping.due()

        outcome: _Outcome = Pending()
        outcome.then(done)
        return outcome

    async def _drop_left(self) -> None:
        outcomes = self._drop_offsets(Pending)
        errors = [error for outcome in outcomes if (error := await outcome.wait()) is not None]
        if errors:
            raise errors[0]

    async def stop(self) -> None:
        """Answer the requests that wait; return when all writes are done."""
        if self._timer is not None:
            self._timer.cancel()
        self._run(self.coordinator.stop())
        await self._handing_over.stop()
        await self._dropping.finish()
        await self.writer.drained()


def _itself(error: KafkaError) -> KafkaError:
    return error
