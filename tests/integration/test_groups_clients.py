"""Groups of real clients: every record is seen, by one owner each, whatever happens to the members."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import group_checks
import pytest
from group_checks import AnyMember, make_topic, seen, stopping
from group_members import KINDS, ConfluentMember, Member, wait_until

from kgw_core.testing.gateway import GatewayProcess, gateway_process

CONFIG = """
[[listeners]]
port = 0

[groups]
min_session_timeout = "500ms"
initial_rebalance_delay = "100ms"
"""
PARTITIONS = 12


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway whose members may have short sessions."""
    with gateway_process(tmp_path_factory.mktemp("groups"), config=CONFIG) as process:
        yield process


@pytest.fixture
def topic(gateway: GatewayProcess, name: str) -> str:
    make_topic(gateway.bootstrap, name, PARTITIONS)
    return name


def settled(members: Sequence[AnyMember], partitions: int = PARTITIONS) -> Callable[[], bool]:
    return group_checks.settled(members, partitions)


def produce(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> int:
    return group_checks.produce(bootstrap, topic, partitions)


def each_once(count: int, partitions: int = PARTITIONS) -> list[tuple[int, int]]:
    return group_checks.each_once(count, partitions)


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [(kind, strategy) for kind in KINDS for strategy in kind.strategies],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_members_share_the_partitions(
    kind: type[Member], strategy: str, gateway: GatewayProcess, topic: str
) -> None:
    """One alone has all; four share; the one that is left has all again. Each record is seen once."""
    members = [kind(gateway.bootstrap, topic, topic, strategy)]
    with stopping(members):
        wait_until(settled(members), "one member has all partitions")
        members += [kind(gateway.bootstrap, topic, topic, strategy) for _ in range(3)]
        wait_until(settled(members), "four members share them")
        count = produce(gateway.bootstrap, topic)
        wait_until(lambda: len(seen(members)) >= count, "all records are seen")
        assert seen(members) == each_once(count)
        for member in members[1:]:
            member.ask_to_stop()
        wait_until(settled(members[:1]), "the last member has all partitions")


def test_clients_of_all_kinds_share_a_group(gateway: GatewayProcess, topic: str) -> None:
    members = [kind(gateway.bootstrap, topic, topic, "range") for kind in KINDS]
    with stopping(members):
        wait_until(settled(members), "three members share the partitions")
        count = produce(gateway.bootstrap, topic)
        wait_until(lambda: len(seen(members)) >= count, "all records are seen")
        assert seen(members) == each_once(count)


def test_twenty_members_share_forty_partitions(gateway: GatewayProcess, name: str) -> None:
    make_topic(gateway.bootstrap, name, 40)
    members: list[Member] = [ConfluentMember(gateway.bootstrap, name, name, "roundrobin") for _ in range(20)]
    with stopping(members):
        wait_until(settled(members, 40), "twenty members share forty partitions", 30)
        count = produce(gateway.bootstrap, name, 40)
        wait_until(lambda: len(seen(members)) >= count, "all records are seen")
        assert seen(members) == each_once(count, 40)


@pytest.mark.clients
@pytest.mark.matrix
@pytest.mark.timeout(300)
@pytest.mark.parametrize("partitions", [12, 200])
@pytest.mark.parametrize(
    ("kind", "strategy"),
    [(kind, strategy) for kind in KINDS for strategy in kind.strategies],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_fifty_members_share_the_partitions(
    kind: type[Member], strategy: str, partitions: int, gateway: GatewayProcess, name: str
) -> None:
    """A group grows from four to fifty, in one process that has to keep all of them alive, and ten leave."""
    make_topic(gateway.bootstrap, name, partitions)
    members = [kind(gateway.bootstrap, name, name, strategy) for _ in range(4)]
    with stopping(members):
        wait_until(settled(members, partitions), "four members share the partitions", 60)
        members += [kind(gateway.bootstrap, name, name, strategy) for _ in range(46)]
        wait_until(settled(members, partitions), "fifty members share the partitions", 120)
        expected = set(each_once(produce(gateway.bootstrap, name, partitions), partitions))
        wait_until(lambda: expected <= set(seen(members)), "all records are seen", 60)
        for member in members[:10]:
            member.ask_to_stop()
        wait_until(settled(members[10:], partitions), "forty members share the partitions", 120)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_client_goes_on_where_the_one_before_it_ended(
    kind: type[Member], gateway: GatewayProcess, topic: str
) -> None:
    count = produce(gateway.bootstrap, topic)
    first = kind(gateway.bootstrap, topic, topic)
    with stopping([first]):
        wait_until(lambda: len(first.seen) >= count, "all records are seen")
    produce(gateway.bootstrap, topic)
    second = kind(gateway.bootstrap, topic, topic)
    with stopping([second]):
        wait_until(lambda: len(second.seen) >= count, "all records since are seen")
    assert min(offset for _, offset in second.seen) == 5
    assert len(second.seen) == count


def test_a_static_member_that_is_restarted_moves_nothing(gateway: GatewayProcess, topic: str) -> None:
    options = {"session.timeout.ms": 30_000}
    other = ConfluentMember(gateway.bootstrap, topic, topic, **options)
    one = ConfluentMember(gateway.bootstrap, topic, topic, **options, **{"group.instance.id": "one"})
    members = [other, one]
    with stopping(members):
        wait_until(settled(members), "two members share the partitions")
        before = (one.assigned, other.assigned)
        generations = gateway.log.count(f"group {topic} has generation")
        one.stop()
        members[1] = one = ConfluentMember(
            gateway.bootstrap, topic, topic, **options, **{"group.instance.id": "one"}
        )
        wait_until(settled(members), "it has its partitions again")
        assert (one.assigned, other.assigned) == before
        assert gateway.log.count(f"group {topic} has generation") == generations


# -- members that die, or fall silent


class MemberProcess:
    """A member in a process of its own."""

    def __init__(self, kind: str, bootstrap: str, group: str, topic: str, **options: Any) -> None:
        program = Path(__file__).with_name("group_members.py")
        arguments = [kind, bootstrap, group, topic, "range", json.dumps(options)]
        self.process = subprocess.Popen(
            [sys.executable, str(program), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.assigned: frozenset[int] = frozenset()
        self.failure = None
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.assigned = frozenset(json.loads(line)["assigned"])

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


SHORT = {
    "confluent": {"session.timeout.ms": 1_000, "heartbeat.interval.ms": 100},
    "kafka-python": {"session_timeout_ms": 1_000, "heartbeat_interval_ms": 100},
    "aiokafka": {"session_timeout_ms": 1_000, "heartbeat_interval_ms": 100},
}


@pytest.fixture
def survivor(gateway: GatewayProcess, topic: str) -> Iterator[Member]:
    member = ConfluentMember(gateway.bootstrap, topic, topic)
    with stopping([member]):
        yield member


def test_the_partitions_of_a_member_that_is_killed_go_to_the_others(
    gateway: GatewayProcess, topic: str, survivor: Member
) -> None:
    dying = MemberProcess("confluent", gateway.bootstrap, topic, topic, **SHORT["confluent"])
    try:
        wait_until(settled([survivor, dying]), "two members share the partitions")
        dying.process.send_signal(signal.SIGKILL)
        wait_until(settled([survivor]), "the survivor has all partitions")
        count = produce(gateway.bootstrap, topic)
        wait_until(lambda: len(survivor.seen) >= count, "all records are seen")
    finally:
        dying.end()


def test_a_member_that_was_stopped_past_its_session_comes_back(
    gateway: GatewayProcess, topic: str, survivor: Member
) -> None:
    pausing = MemberProcess("confluent", gateway.bootstrap, topic, topic, **SHORT["confluent"])
    try:
        both: list[Any] = [survivor, pausing]
        wait_until(settled(both), "two members share the partitions")
        pausing.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: len(survivor.assigned) == PARTITIONS, "the other one has all partitions")
        pausing.process.send_signal(signal.SIGCONT)
        wait_until(settled(both), "it is back")
    finally:
        pausing.end()
