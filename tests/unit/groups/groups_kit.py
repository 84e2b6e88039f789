"""A coordinator driven by hand: the time, the store and the clients are the test's."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from kgw_core import wire
from kgw_core.config import Groups as GroupSettings
from kgw_core.errors import KafkaError
from kgw_core.groups.coordinator import Coordinator, stored_state
from kgw_core.groups.events import Effects, Join, Joined, Leaving, Now, Sync, Synced, Write
from kgw_core.groups.group import Group
from kgw_core.groups.records import Committed, decode, encode
from kgw_core.wire.messages.consumer_protocol_subscription import ConsumerProtocolSubscription

SESSION, REBALANCE = 10_000, 30_000
EPOCH = 1_700_000_000_000
NO_TOPIC = bytes(16)
SETTINGS = GroupSettings(initial_rebalance_delay=0)


def subscribing(*topics: str, version: int = 0) -> bytes:
    """A member's metadata."""
    message = ConsumerProtocolSubscription(topics=list(topics))
    return version.to_bytes(2, "big") + wire.encode(message, version)


RANGE = (("range", subscribing("t")),)


def committed(offset: int, **fields: Any) -> Committed:
    place = Committed(offset, -1, "", EPOCH, -1, NO_TOPIC)
    return msgspec.structs.replace(place, **fields)


class Token:
    """Somebody who waits for an answer."""

    numbers = itertools.count(1)

    def __init__(self, what: str) -> None:
        self.what = what
        self.number = next(self.numbers)
        self.answers: list[Any] = []

    @property
    def answer(self) -> Any:
        assert len(self.answers) == 1, f"{self}: {self.answers}"
        return self.answers[0]

    @property
    def waits(self) -> bool:
        return not self.answers

    def __repr__(self) -> str:
        return f"<{self.what} {self.number}>"


def name_of(error: KafkaError | None) -> str:
    return error.name if error is not None else "NONE"


class Driver:
    """``hold``: writes stay in ``writes`` until the test commits them or lets them fail."""

    def __init__(self, settings: GroupSettings = SETTINGS, *, hold: bool = False) -> None:
        self.settings = settings
        self.hold = hold
        self.ms = 1_000_000
        self.store: dict[bytes, bytes] = {}
        self.writes: deque[Write] = deque()
        self.tokens: list[Token] = []
        self._ids = itertools.count(1)
        self._begin()

    def look(self) -> None:
        """Called whenever a write was done or has failed."""

    def _begin(self) -> None:
        self.coordinator = Coordinator(self.settings, lambda: f"{next(self._ids):03}")
        for key, value in self.store.items():
            self.coordinator.apply(decode(key, value))
        self.run(self.coordinator.loaded(self.now))

    def crash(self) -> None:
        """All data outside of the store is gone, and waiting clients get no answer."""
        self.writes.clear()
        self.tokens.clear()
        self._begin()

    @property
    def now(self) -> Now:
        return Now(self.ms, EPOCH + self.ms)

    def run(self, effects: Effects) -> None:
        for token, answer in effects.replies:
            if token is not None:
                token.answers.append(answer)
        self.writes.extend(effects.writes)
        if not self.hold:
            self.commit()

    def commit(self) -> None:
        """Commit all that is to be written."""
        while self.writes:
            self.commit_one()

    def store_one(self) -> Write:
        """The next write is in the store, and nobody knows yet."""
        write = self.writes.popleft()
        for key, value in map(encode, write.records):
            if value is None:
                self.store.pop(key, None)
            else:
                self.store[key] = value
        return write

    def commit_one(self, error: Exception | None = None) -> None:
        write = self.store_one() if error is None else self.writes.popleft()
        self.run(self.coordinator.committed(write, error, self.now))
        self.look()

    def advance(self, ms: int) -> None:
        """Advance the time. Deadlines on the way are met in time."""
        end = self.ms + ms
        while (at := self.coordinator.deadlines.next()) <= end:
            self.ms = max(self.ms, at)
            self.run(self.coordinator.due(self.now))
        self.ms = end

    def replayed(self) -> dict[str, Any]:
        """The groups of a coordinator that takes over the store now."""
        other = Coordinator(self.settings, lambda: "x")
        for key, value in self.store.items():
            other.apply(decode(key, value))
        return stored_state(other)

    # -- requests

    def token(self, what: str) -> Token:
        token = Token(what)
        self.tokens.append(token)
        return token

    def join(
        self,
        member_id: str = "",
        *,
        group: str = "g",
        instance: str | None = None,
        client: str = "c",
        protocols: Iterable[tuple[str, bytes]] = RANGE,
        protocol_type: str = "consumer",
        session: int = SESSION,
        rebalance: int = REBALANCE,
        needs_id: bool = False,
        may_skip: bool = False,
    ) -> Token:
        token = self.token("join")
        join = Join(
            group, member_id, instance, client, "/host", session, rebalance, protocol_type, tuple(protocols),
            needs_id, may_skip,
        )  # fmt: skip
        self.run(self.coordinator.join(join, token, self.now))
        return token

    def sync(
        self,
        member_id: str,
        generation: int,
        assignments: dict[str, bytes] | None = None,
        *,
        group: str = "g",
        instance: str | None = None,
        protocol_type: str | None = None,
        protocol_name: str | None = None,
    ) -> Token:
        token = self.token("sync")
        sync = Sync(group, generation, member_id, instance, protocol_type, protocol_name, assignments or {})
        self.run(self.coordinator.sync(sync, token, self.now))
        return token

    def heartbeat(
        self, member_id: str, generation: int, *, group: str = "g", instance: str | None = None
    ) -> str:
        try:
            self.coordinator.heartbeat(group, generation, member_id, instance, self.ms)
        except KafkaError as error:
            return error.name
        return "NONE"

    def leave(self, *leaving: Leaving | str, group: str = "g") -> Token:
        token = self.token("leave")
        asked = [Leaving(one) if isinstance(one, str) else one for one in leaving]
        self.run(self.coordinator.leave(group, asked, token, self.now))
        return token

    def offset_commit(
        self,
        offset: int,
        member_id: str = "",
        generation: int = -1,
        *,
        group: str = "g",
        topic: str = "t",
        partitions: Sequence[int] = (0,),
        instance: str | None = None,
        tells_unknown: bool = False,
        **fields: Any,
    ) -> Token:
        token = self.token("commit")
        fields.setdefault("time_ms", EPOCH + self.ms)
        places = [(topic, partition, committed(offset, **fields)) for partition in partitions]
        try:
            effects = self.coordinator.commits.commit(
                group, generation, member_id, instance, places, token, self.now, tells_unknown=tells_unknown
            )
        except KafkaError as error:
            token.answers.append(error)
        else:
            self.run(effects)
        return token

    def delete(self, group: str = "g") -> Token:
        token = self.token("delete")
        self.run(self.coordinator.delete_group(group, token, self.now))
        return token

    # -- looking

    def group(self, group: str = "g") -> Group:
        return self.coordinator.groups[group]

    @property
    def state(self) -> str:
        group = self.coordinator.groups.get("g")
        return group.state.value if group is not None else "none"

    def offset(self, topic: str = "t", partition: int = 0, group: str = "g") -> int | None:
        found = self.coordinator.groups.get(group)
        place = found.offsets.get(topic, {}).get(partition) if found else None
        return place.offset if place is not None else None

    def joined(self, *tokens: Token) -> Iterator[Joined]:
        for token in tokens:
            assert isinstance(token.answer, Joined)
            assert token.answer.error is None, token.answer.error
            yield token.answer

    # -- groups that are somewhere

    def members(self, count: int = 2, **options: Any) -> list[str]:
        """A group with that many members, the first one leading, in CompletingRebalance."""
        tokens = [self.join(client=f"c{index}", **options) for index in range(count)]
        if all(token.waits for token in tokens):
            self.advance(0)
        if not all(token.answers for token in tokens):
            raise AssertionError(self.group())
        answers = list(self.joined(*tokens))
        leader = answers[0].leader
        return [leader, *(answer.member_id for answer in answers if answer.member_id != leader)]

    def stable(self, count: int = 2, **options: Any) -> list[str]:
        """The same, with an assignment for each member that has its name."""
        members = self.members(count, **options)
        generation = self.group().generation
        assignment = {member: b"of " + member.encode() for member in members}
        tokens = [self.sync(member, generation, assignment) for member in reversed(members)]
        for token in tokens:
            assert isinstance(token.answer, Synced)
            assert token.answer.error is None
        return members
