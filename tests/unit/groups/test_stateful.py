"""Anything, in any order: joins, syncs, beats, leaves, commits, timeouts, late and repeated requests, writes
that wait or fail, crashes and reloads. What has to hold then is in the invariants."""

from __future__ import annotations

from typing import Any

from groups_kit import Driver, Token, subscribing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kgw_core.config import Groups as GroupSettings
from kgw_core.errors import CoordinatorNotAvailable, KafkaStorageError
from kgw_core.groups.coordinator import stored_state
from kgw_core.groups.events import Joined, Leaving, Synced
from kgw_core.groups.group import Group
from kgw_core.groups.machine import NEW_MEMBER_MS

R, S = ("range", subscribing("t")), ("sticky", subscribing("t", "u"))
PROTOCOLS = [(R,), (R, S), (S, R), (S,), (("range", subscribing("t", "u")),)]
pick = st.integers(0, 1_000)


def identity(member_id: str) -> str:
    """A static member is the same under each of its ids."""
    return member_id.partition("-")[0] if member_id.startswith("i") else member_id


class Groups(RuleBasedStateMachine):
    """Clients know every member id and generation that was ever told, and use any of them."""

    @initialize(
        delay=st.sampled_from([0, 3]), size=st.sampled_from([None, None, 3]), members=st.integers(0, 4)
    )
    def begin(self, delay: int, size: int | None, members: int) -> None:
        self.driver = Driver(GroupSettings(initial_rebalance_delay=delay, max_size=size), hold=True)
        self.driver.look = self._look  # type: ignore[method-assign]
        self.ids: list[str] = [""]
        self.generations: dict[int, dict[str, Any]] = {}
        self.newest = 0
        self.syncs: dict[Token, tuple[int, str]] = {}
        self.commits: list[tuple[Token, int, int]] = []
        self.offsets: dict[int, int] = {}
        self.count = 0
        for _ in range(members):
            self.driver.join(protocols=(R, S))
        self.driver.advance(10_000 if members else 0)
        self.driver.commit()

    def _id(self, who: int) -> str:
        """Any id, the newest ones most often, as older ones are mostly gone."""
        return self.ids[-1 - min(who % len(self.ids), who // 7 % len(self.ids))]

    # -- what clients do

    @rule(who=pick, protocols=st.sampled_from(PROTOCOLS), needs_id=st.booleans(), skip=st.booleans())
    def join(self, who: int, protocols: Any, needs_id: bool, skip: bool) -> None:
        self.driver.join(
            self._id(who) if who % 3 else "", protocols=protocols, needs_id=needs_id, may_skip=skip
        )

    @rule(who=pick, instance=st.sampled_from(["i1", "i2"]), known=st.booleans(), skip=st.booleans())
    def join_static(self, who: int, instance: str, known: bool, skip: bool) -> None:
        ids = [id for id in self.ids if id.startswith(instance)]
        member_id = ids[who % len(ids)] if ids and known else ""
        self.driver.join(member_id, instance=instance, protocols=(R, S), may_skip=skip)

    @rule(who=pick, old=st.integers(0, 2))
    def sync(self, who: int, old: int) -> None:
        member_id, generation = self._id(who), self.newest - old // 2
        self._sync(member_id, generation)

    @rule(which=st.sampled_from(["all", "leader last", "followers"]))
    def sync_all(self, which: str) -> None:
        """Those of the newest generation; while the leader does not, the others wait."""
        told = self.generations.get(self.newest, {"told": ()})
        leads = [member_id for member_id in told["told"] if identity(member_id) == told["leader"]]
        others = [member_id for member_id in told["told"] if member_id not in leads]
        for member_id in {"all": leads + others, "leader last": others + leads, "followers": others}[which]:
            self._sync(member_id, self.newest)

    def _sync(self, member_id: str, generation: int) -> None:
        assignments = {}
        told = self.generations.get(generation, {})
        if told.get("leader") == identity(member_id):
            assignments = {id: f"{generation}/{identity(id)}".encode() for id in self.ids}
        token = self.driver.sync(member_id, generation, assignments)
        self.syncs[token] = (generation, member_id)

    @rule(who=pick, old=st.integers(0, 3))
    def beat(self, who: int, old: int) -> None:
        told = self.driver.heartbeat(self._id(who), self.newest - old // 3)
        assert told in ("NONE", "REBALANCE_IN_PROGRESS", "UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION")

    @rule()
    def beat_all(self) -> None:
        for member_id in self.ids[1:]:
            self.driver.heartbeat(member_id, self.newest)

    @rule()
    def rejoin_all(self) -> None:
        """Members that know of a rebalance rejoin."""
        group = self.group
        for member in list(group.members.values()) if group is not None else ():
            if member.joining is None:
                self.driver.join(member.id, instance=member.instance_id, protocols=member.protocols)

    @rule(times=st.integers(1, 3), which=st.sampled_from(["all", "leader last", "followers"]))
    def go_on(self, times: int, which: str) -> None:
        """Well-behaved members and a working store for a while, so that most groups make progress."""
        for _ in range(times):
            self.driver.advance(3_000)
            self.driver.commit()
            if self.driver.state == "PreparingRebalance":
                self.rejoin_all()
                self.driver.commit()
            self.sync_all(which)
            self.driver.commit()

    @rule(who=pick, instance=st.sampled_from([None, None, "i1"]))
    def leave(self, who: int, instance: str | None) -> None:
        self.driver.leave(Leaving(self._id(who), instance))

    @rule(who=pick, simple=st.booleans(), partition=st.integers(0, 2))
    def commit(self, who: int, simple: bool, partition: int) -> None:
        self.count += 1
        member_id, generation = ("", -1) if simple else (self._id(who), self.newest)
        token = self.driver.offset_commit(self.count, member_id, generation, partitions=[partition])
        self.commits.append((token, partition, self.count))

    @rule()
    def delete(self) -> None:
        token = self.driver.delete()
        self.commits.append((token, -1, 0))

    @rule(which=pick)
    def go_away(self, which: int) -> None:
        waiting = [token for token in self.driver.tokens if token.what == "join" and token.waits]
        if waiting:
            token = waiting[which % len(waiting)]
            self.driver.run(self.driver.coordinator.abandoned("g", token, self.driver.now))

    # -- what happens around them

    @rule(ms=st.sampled_from([0, 1, 500, 500, 3_000, 3_000, 9_999, 30_000, 400_000]))
    def time_passes(self, ms: int) -> None:
        self.driver.advance(ms)

    @rule()
    def written(self) -> None:
        if self.driver.writes:
            self.driver.commit_one()

    @rule()
    def all_written(self) -> None:
        self.driver.commit()

    @rule()
    def nobody_waits_for_ever(self) -> None:
        """Not on members that do no more than beat."""
        self.driver.commit()
        for _ in range(20):
            self.driver.advance(4_000)
            self.driver.commit()
            group = self.group
            for member in list(group.members) if group is not None else ():
                self.driver.heartbeat(member, group.generation)  # type: ignore[union-attr]
        self._look()
        assert [token for token in self.driver.tokens if token.waits] == []

    @rule()
    def the_leader_assigns_nothing(self) -> None:
        """Though it beats."""
        self.sync_all("followers")
        self.nobody_waits_for_ever()

    @rule(error=st.sampled_from([KafkaStorageError("full"), CoordinatorNotAvailable("not now")]))
    def write_fails(self, error: Exception) -> None:
        if self.driver.writes:
            self.driver.commit_one(error)

    @rule(through=st.integers(0, 3))
    def crash(self, through: int) -> None:
        """The first ``through`` of what was to be written is, and nobody is told."""
        self._look()
        possible: dict[int, set[int | None]] = {place: {offset} for place, offset in self.offsets.items()}
        for _, partition, offset in self.commits:
            if partition >= 0:
                possible.setdefault(partition, {None}).add(offset)
        may_be_deleted = any(partition < 0 for _, partition, _ in self.commits)
        self.commits.clear()
        self.syncs.clear()
        for _ in range(min(through, len(self.driver.writes))):
            self.driver.store_one()
        self.driver.crash()
        found = self.found
        if self.group is None:
            assert may_be_deleted or self.offsets == {}, "a crash took a group along"
            self._forget()
        elif not may_be_deleted:
            for partition, offsets in possible.items():
                assert found.get(partition) in offsets, "an offset is not what was committed"
        self.offsets = found

    def _forget(self) -> None:
        """The group is gone; the next of its name begins anew."""
        self.offsets.clear()
        self.generations.clear()
        self.newest = 0
        self.ids = [""]

    # -- what has to hold

    @property
    def group(self) -> Group | None:
        return self.driver.coordinator.groups.get("g")

    @invariant()
    def answers_are_right(self) -> None:
        self._look()

    def _look(self) -> None:
        self._committed()  # first: after a deletion all that is told is of a new group
        for token in self.driver.tokens:
            assert len(token.answers) <= 1, f"{token} is answered twice"
        for token in [token for token in self.driver.tokens if token.answers]:
            self.driver.tokens.remove(token)
            answer = token.answer
            if isinstance(answer, Joined):
                self._joined(answer)
            elif isinstance(answer, Synced):
                self._synced(token, answer)

    def _joined(self, answer: Joined) -> None:
        if answer.member_id and answer.member_id not in self.ids:
            self.ids.append(answer.member_id)
        if answer.error is not None:
            return
        told = self.generations.setdefault(answer.generation, {"told": []})
        if answer.member_id not in told["told"]:
            told["told"].append(answer.member_id)
        leader = identity(answer.leader)
        assert told.setdefault("leader", leader) == leader, "two leaders in one generation"
        assert told.setdefault("protocol", answer.protocol_name) == answer.protocol_name
        if answer.members:
            self.ids += [member.id for member in answer.members if member.id not in self.ids]
            assert answer.leader == answer.member_id
            members = {identity(member.id) for member in answer.members}
            assert identity(answer.member_id) in members
            assert told.setdefault("members", members) == members, "a generation changed its members"
        self.newest = max(self.newest, answer.generation)

    def _synced(self, token: Token, answer: Synced) -> None:
        generation, member_id = self.syncs.pop(token)
        if answer.error is None:
            own = f"{generation}/{identity(member_id)}".encode()
            assert answer.assignment == own, "an assignment of another generation or member"

    def _committed(self) -> None:
        """Commits apply in order; a deletion forgets all of them, and generations begin anew."""
        for token, partition, offset in list(self.commits):
            if token.waits:
                continue
            self.commits.remove((token, partition, offset))
            if token.answer is not None:
                continue
            if partition < 0:
                self._forget()
            else:
                self.offsets[partition] = offset

    @invariant()
    def no_offset_goes_back(self) -> None:
        if self.driver.writes:
            return
        assert self.found == self.offsets

    @property
    def found(self) -> dict[int, int]:
        """The committed offsets of the group."""
        group = self.group
        if group is None:
            return {}
        return {partition: place.offset for _, partition, place in group.each_offset()}

    @invariant()
    def a_replay_gives_the_same_state(self) -> None:
        if self.driver.writes:
            return
        replayed, live = self.driver.replayed(), stored_state(self.driver.coordinator)
        for group_id, (record, offsets) in live.items():
            known = replayed.pop(group_id, (None, {}))
            assert offsets == known[1]
            if record is not None:
                assert record == known[0]
        assert replayed == {}

    @invariant()
    def a_group_is_consistent(self) -> None:
        group = self.group
        if group is None:
            return
        members = list(group.members.values())
        assert group.awaiting == sum(member.joining is not None for member in members)
        assert {member.instance_id: member.id for member in members if member.instance_id} == group.static
        assert (group.leader in group.members) == bool(members)
        assert not (group.state.value == "Empty" and members and not group.writing)
        assert group.pending_sync <= set(group.members)
        counts: dict[str, int] = {}
        for member in members:
            for name, _ in member.protocols:
                counts[name] = counts.get(name, 0) + 1
        assert {name: count for name, count in group._counts.items() if count} == counts
        assert group.writing or not group.deferred or group.deleting

    def teardown(self) -> None:
        """When all fall silent the group is empty."""
        if not hasattr(self, "driver"):
            return
        self.nobody_waits_for_ever()
        for _ in range(8):
            self.driver.advance(NEW_MEMBER_MS)
            self.driver.commit()
        assert [token for token in self.driver.tokens if token.waits] == []
        assert self.driver.state in ("Empty", "none")


Groups.TestCase.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestGroups = Groups.TestCase
