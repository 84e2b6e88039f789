"""Every request in every state: the answer to the client, and the next state of the group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from groups_kit import RANGE, Driver, subscribing

from kgw_core.errors import KafkaError
from kgw_core.groups.events import Joined, Leaving, Synced

CHANGED = (("range", subscribing("t", "u")),)


class Case:
    """A group in a state. Its members know ``leader``, ``follower`` and ``generation``."""

    def __init__(self, state: str) -> None:
        self.driver = driver = Driver()
        self.leader, self.follower, self.generation = "nobody", "nobody else", 0
        if state == "none":
            return
        if state == "Dead":
            self.leader, self.follower = driver.stable()
            self.generation = 1
            for member in (self.leader, self.follower):
                driver.leave(member)
            group = driver.group()
            driver.coordinator.machine.die(group, _effects())
        elif state == "Empty":
            self.leader, self.follower = driver.stable()
            driver.leave(self.follower, self.leader)
            self.generation = driver.group().generation
        elif state == "CompletingRebalance":
            self.leader, self.follower = driver.members()
            self.generation = 1
        else:
            self.leader, self.follower = driver.stable()
            self.generation = 1
            if state == "PreparingRebalance":
                driver.join(client="third")
        assert driver.state == state


def _effects() -> Any:
    from kgw_core.groups.events import Effects

    return Effects()


def told(answer: Any) -> str:
    if isinstance(answer, Joined | Synced):
        answer = answer.error
    if isinstance(answer, list):
        answer = answer[0]
    return answer.name if isinstance(answer, KafkaError) else "NONE"


def ask(case: Case, request: Callable[[Case], Any]) -> str:
    try:
        token = request(case)
    except KafkaError as error:
        return error.name
    if isinstance(token, str):
        return token
    return "waits" if token.waits else told(token.answer)


REQUESTS: dict[str, Callable[[Case], Any]] = {
    "join new": lambda c: c.driver.join(),
    "join new, needs id": lambda c: c.driver.join(needs_id=True),
    "join other type": lambda c: c.driver.join(protocol_type="connect"),
    "join other protocol": lambda c: c.driver.join(protocols=[("sticky", b"")]),
    "join no protocol": lambda c: c.driver.join(protocols=[]),
    "join no member": lambda c: c.driver.join("stranger"),
    "join follower": lambda c: c.driver.join(c.follower, protocols=RANGE),
    "join follower, changed": lambda c: c.driver.join(c.follower, protocols=CHANGED),
    "join leader": lambda c: c.driver.join(c.leader, protocols=RANGE),
    "sync follower": lambda c: c.driver.sync(c.follower, c.generation),
    "sync leader": lambda c: c.driver.sync(c.leader, c.generation, {c.leader: b"x"}),
    "sync old": lambda c: c.driver.sync(c.follower, c.generation - 1),
    "sync no member": lambda c: c.driver.sync("stranger", c.generation),
    "sync other protocol": lambda c: c.driver.sync(c.follower, c.generation, protocol_name="sticky"),
    "sync other type": lambda c: c.driver.sync(c.follower, c.generation, protocol_type="connect"),
    "heartbeat": lambda c: c.driver.heartbeat(c.follower, c.generation),
    "heartbeat old": lambda c: c.driver.heartbeat(c.follower, c.generation - 1),
    "heartbeat no member": lambda c: c.driver.heartbeat("stranger", c.generation),
    "leave follower": lambda c: c.driver.leave(c.follower),
    "leave no member": lambda c: c.driver.leave("stranger"),
    "leave no instance": lambda c: c.driver.leave(Leaving("", "instance")),
    "commit member": lambda c: c.driver.offset_commit(5, c.follower, c.generation),
    "commit old": lambda c: c.driver.offset_commit(5, c.follower, c.generation - 1),
    "commit no member": lambda c: c.driver.offset_commit(5, "stranger", c.generation),
    "commit simple": lambda c: c.driver.offset_commit(5),
    "delete": lambda c: c.driver.delete(),
}

STATES = ("none", "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead")

UNKNOWN, FENCED, GONE = "UNKNOWN_MEMBER_ID", "FENCED_INSTANCE_ID", "COORDINATOR_NOT_AVAILABLE"
OLD, BUSY, WRONG = "ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS", "INCONSISTENT_GROUP_PROTOCOL"
ID, NO_GROUP, IN_USE = "MEMBER_ID_REQUIRED", "GROUP_ID_NOT_FOUND", "NON_EMPTY_GROUP"
PREPARING, COMPLETING = "PreparingRebalance", "CompletingRebalance"

# What is told in each of STATES; after a slash the state that follows, where it is another.
TABLE: dict[str, tuple[str, str, str, str, str, str]] = {
    "join new": (
        f"waits/{PREPARING}", f"waits/{PREPARING}", "waits", f"waits/{PREPARING}", f"waits/{PREPARING}", GONE,
    ),
    "join new, needs id": (f"{ID}/Empty", ID, ID, ID, ID, GONE),
    "join other type": (f"waits/{PREPARING}", f"waits/{PREPARING}", WRONG, WRONG, WRONG, GONE),
    "join other protocol": (f"waits/{PREPARING}", f"waits/{PREPARING}", WRONG, WRONG, WRONG, GONE),
    "join no protocol": (WRONG, WRONG, WRONG, WRONG, WRONG, GONE),
    "join no member": (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, GONE),
    "join follower": (UNKNOWN, UNKNOWN, "waits", "NONE", "NONE", GONE),
    "join follower, changed": (UNKNOWN, UNKNOWN, "waits", f"waits/{PREPARING}", f"waits/{PREPARING}", GONE),
    "join leader": (UNKNOWN, UNKNOWN, "waits", "NONE", f"waits/{PREPARING}", GONE),
    "sync follower": (UNKNOWN, UNKNOWN, BUSY, "waits", "NONE", GONE),
    "sync leader": (UNKNOWN, UNKNOWN, BUSY, "NONE/Stable", "NONE", GONE),
    "sync old": (UNKNOWN, UNKNOWN, OLD, OLD, OLD, GONE),
    "sync no member": (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, GONE),
    "sync other protocol": (UNKNOWN, UNKNOWN, WRONG, WRONG, WRONG, GONE),
    "sync other type": (UNKNOWN, UNKNOWN, WRONG, WRONG, WRONG, GONE),
    "heartbeat": (UNKNOWN, UNKNOWN, BUSY, "NONE", "NONE", GONE),
    "heartbeat old": (UNKNOWN, UNKNOWN, OLD, OLD, OLD, GONE),
    "heartbeat no member": (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, GONE),
    "leave follower": (UNKNOWN, UNKNOWN, "NONE", f"NONE/{PREPARING}", f"NONE/{PREPARING}", GONE),
    "leave no member": (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, GONE),
    "leave no instance": (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, GONE),
    "commit member": (OLD, UNKNOWN, "NONE", BUSY, "NONE", GONE),
    "commit old": ("NONE/Empty", UNKNOWN, OLD, OLD, OLD, GONE),
    "commit no member": (OLD, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, GONE),
    "commit simple": ("NONE/Empty", "NONE", UNKNOWN, UNKNOWN, UNKNOWN, GONE),
    "delete": (NO_GROUP, "NONE/none", IN_USE, IN_USE, IN_USE, GONE),
}  # fmt: skip


@pytest.mark.parametrize("request_name", TABLE)
@pytest.mark.parametrize("state", STATES)
def test_the_table(state: str, request_name: str) -> None:
    case = Case(state)
    expected, _, after = TABLE[request_name][STATES.index(state)].partition("/")
    assert ask(case, REQUESTS[request_name]) == expected
    assert case.driver.state == (after or state)


def test_the_table_has_every_request() -> None:
    assert TABLE.keys() == REQUESTS.keys()
