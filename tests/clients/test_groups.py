"""Groups of members in other languages: every record is seen, none by two owners of one generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import scenarios
import toolchains
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient
from group_checks import each_once, make_topic, produce, seen, settled, stopping
from group_members import KINDS as KINDS_OF_PYTHON
from group_members import wait_until
from group_programs import Host, ProgramMember, check_owners, hosting
from toolchains import Client, Program

from kgw_core.testing.gateway import GatewayProcess, gateway_process

CONFIG = """
[[listeners]]
port = 0

[groups]
min_session_timeout = "500ms"
initial_rebalance_delay = "100ms"
"""

STRATEGIES = {
    toolchains.KAFKA_GO: ("range", "roundrobin"),
    toolchains.FRANZ_GO: ("cooperative-sticky", "range", "roundrobin", "sticky"),
    toolchains.SARAMA: ("sticky", "range", "roundrobin", "cooperative-sticky"),
    toolchains.JAVA: ("cooperative-sticky", "range", "roundrobin", "sticky"),
    toolchains.KAFKAJS: ("RoundRobinAssigner",),
}
"""The first is the one that runs everywhere."""

KINDS = [pytest.param(client, id=client.name) for client in STRATEGIES]
SETTLING = 60.0
"""Seconds; tens of members of a JVM start slowly where others run beside them."""


@pytest.fixture(scope="module")
def group_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway whose members may have short sessions, and do not wait for more of them at first."""
    with gateway_process(tmp_path_factory.mktemp("groups"), config=CONFIG) as process:
        yield process


class Stage:
    """What one test has: a topic, programs with members, and what became of its records."""

    def __init__(
        self, bootstrap: str, name: str, programs: Callable[[Client, str], Program], hosts: ExitStack
    ):
        self.bootstrap, self.name = bootstrap, name
        self.produced: dict[str, int] = {}
        self._programs, self._hosts = programs, hosts

    def settle(self, members: list[Any], partitions: int, what: str) -> None:
        """All partitions are owned by these members."""
        try:
            wait_until(settled(members, partitions), what, SETTLING)
        except AssertionError as error:
            for member in members:
                host = getattr(member, "host", None)
                error.add_note(f"{host.kind if host else member.name}: {sorted(member.assigned)}")
            raise

    @staticmethod
    def wait(members: list[ProgramMember], what: str) -> None:
        """One of them at least has partitions."""
        wait_until(lambda: any(member.assigned for member in members), what, SETTLING)

    def topic(self, partitions: int, name: str = "") -> str:
        topic = name or self.name
        make_topic(self.bootstrap, topic, partitions)
        self.produced[topic] = 0
        return topic

    def host(self, client: Client) -> Host:
        return self._hosts.enter_context(hosting(self._programs(client, client.newest), self.bootstrap))

    def produce(self, partitions: int, topic: str = "") -> None:
        topic = topic or self.name
        self.produced[topic] += produce(self.bootstrap, topic, partitions)

    def all_committed(self, group: str) -> None:
        """The group is at the end of each partition of its topic, which has its name."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        count = self.produced[group]

        def committed() -> int:
            (future,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
            return sum(tp.offset for tp in future.result(10).topic_partitions)

        wait_until(lambda: committed() == count, "all is committed", SETTLING)

    def all_seen(self, members: list[Any], partitions: int, topic: str = "") -> None:
        """Every record of the topic comes to one of the members, or came."""
        want = set(each_once(self.produced[topic or self.name], partitions))
        wait_until(lambda: want <= set(seen(members)), "every record is seen", SETTLING)
        assert set(seen(members)) == want
        assert check_owners(member for member in members if isinstance(member, ProgramMember))


@pytest.fixture
def stage(
    group_gateway: GatewayProcess, built: Callable[[Client, str], Program], request: pytest.FixtureRequest
) -> Iterator[Stage]:
    before = len(group_gateway.log)
    name = "".join(c if c.isalnum() or c in "-." else "-" for c in request.node.name)
    with ExitStack() as hosts:
        yield Stage(group_gateway.bootstrap, name, built, hosts)
    assert "Traceback" not in group_gateway.log[before:]


class _Process:
    pid = 0


class _Host:
    kind, process, dead = "nobody", _Process, False


def test_two_owners_of_one_generation_are_found() -> None:
    """What the tests below look for would be seen."""
    first, second = (ProgramMember(_Host(), name) for name in ("m0", "m1"))  # type: ignore[arg-type]
    first.told({"generation": 1, "assigned": [0, 1]})
    second.told({"generation": 1, "assigned": [2]})
    second.told({"generation": 2, "assigned": [1, 2]})
    second.told({"generation": -1, "seen": [[0, 7]]})
    assert check_owners([first, second]) == 5
    second.told({"generation": 1, "seen": [[0, 8]]})
    with pytest.raises(AssertionError, match="partition 0 in generation 1"):
        check_owners([first, second])


def sizes() -> Iterator[Any]:
    for client, strategies in STRATEGIES.items():
        for strategy in strategies:
            for partitions, counts in ((12, (1, 4)), (12, (1, 4, 50)), (200, (1, 4, 50))):
                small = counts == (1, 4)
                if small and strategy != strategies[0]:
                    continue
                name = f"{client.name}-{strategy}-{partitions}-{counts[-1]}"
                yield pytest.param(
                    client, strategy, partitions, counts, id=name, marks=scenarios.marks(small)
                )


@pytest.mark.parametrize(("client", "strategy", "partitions", "counts"), [*sizes()])
def test_members_share_the_partitions(
    stage: Stage, client: Client, strategy: str, partitions: int, counts: tuple[int, ...]
) -> None:
    """A group grows; at each size all partitions are owned, and each record is seen once. Then it shrinks."""
    topic, host = stage.topic(partitions), stage.host(client)
    members: list[ProgramMember] = []
    for count in counts:
        members += [host.start(topic, topic, strategy) for _ in range(count - len(members))]
        stage.settle(members, partitions, f"{count} members share {partitions}")
        stage.produce(partitions)
        stage.all_seen(members, partitions)
        stage.all_committed(topic)
        assert seen(members) == each_once(stage.produced[topic], partitions)
    for member in members[1:]:
        member.ask_to_stop()
    stage.settle(members[:1], partitions, "the first member has all partitions")
    stage.produce(partitions)
    stage.all_seen(members, partitions)
    host.members[members[0].name].stop()


@pytest.mark.parametrize("client", KINDS)
def test_the_partitions_of_a_member_that_is_killed_go_to_the_others(stage: Stage, client: Client) -> None:
    strategy = STRATEGIES[client][0]
    topic, living, dying = stage.topic(12), stage.host(client), stage.host(client)
    members = [
        living.start(topic, topic, strategy),
        dying.start(topic, topic, strategy, session=1_000, heartbeat=100),
    ]
    stage.settle(members, 12, "two members share the partitions")
    stage.produce(12)
    stage.all_seen(members, 12)
    dying.kill()
    stage.produce(12)
    stage.settle(members[:1], 12, "the survivor has all partitions")
    stage.all_seen(members, 12)


@pytest.mark.parametrize("client", KINDS)
def test_a_member_that_was_paused_past_its_session_comes_back(stage: Stage, client: Client) -> None:
    strategy = STRATEGIES[client][0]
    topic, other, pausing = stage.topic(12), stage.host(client), stage.host(client)
    members = [
        other.start(topic, topic, strategy),
        pausing.start(topic, topic, strategy, session=1_000, heartbeat=100),
    ]
    stage.settle(members, 12, "two members share the partitions")
    pausing.pause()
    try:
        stage.produce(12)
        wait_until(lambda: len(members[0].assigned) == 12, "the other one has all partitions", SETTLING)
    finally:
        pausing.resume()
    stage.settle(members, 12, "it is back")
    stage.produce(12)
    stage.all_seen(members, 12)


MIXING = (toolchains.JAVA, toolchains.FRANZ_GO, toolchains.SARAMA)
"""Clients with assignors of the same names. kafka-go's range and roundrobin are for its own members only: it
writes subscriptions of version 1 without the owned partitions that belong into them, so that others do not
see its topics, and does not read what has them. kafkajs's one assignor has a name of its own."""
EVERYWHERE = ("range", "cooperative-sticky")


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(one, marks=scenarios.marks(one in EVERYWHERE))
        for one in (*EVERYWHERE, "roundrobin", "sticky")
    ],
)
def test_clients_of_all_kinds_share_a_group(stage: Stage, strategy: str) -> None:
    """Python's too, where they have the strategy; each of the others in turn leaves, and comes back."""
    topic = stage.topic(12)
    hosts = [stage.host(client) for client in MIXING]
    members: list[Any] = [host.start(topic, topic, strategy) for host in hosts]
    members += [
        kind(stage.bootstrap, topic, topic, strategy)
        for kind in KINDS_OF_PYTHON
        if strategy in kind.strategies
    ]
    everybody = list(members)
    with stopping(everybody):
        stage.settle(members, 12, f"{len(members)} members share the partitions")
        stage.produce(12)
        stage.all_seen(everybody, 12)
        for index, host in enumerate(hosts):
            members.pop(index).stop()
            stage.settle(members, 12, "the others share its partitions")
            stage.produce(12)
            stage.all_seen(everybody, 12)
            members.insert(index, host.start(topic, topic, strategy))
            everybody.append(members[index])
            stage.settle(members, 12, "it has a part again")


@pytest.mark.matrix
@pytest.mark.parametrize("client", KINDS)
def test_many_groups_at_once(stage: Stage, client: Client) -> None:
    """Thirty groups of three, of one process, over one topic; each of them sees every record."""
    topic, host = stage.topic(6), stage.host(client)
    stage.produce(6)
    groups = [
        [host.start(f"{topic}-{index}", topic, STRATEGIES[client][0]) for _ in range(3)]
        for index in range(30)
    ]
    for members in groups:
        stage.settle(members, 6, "three members share the partitions")
    stage.produce(6)
    for members in groups:
        stage.all_seen(members, 6)


@pytest.mark.matrix
@pytest.mark.parametrize("client", KINDS)
def test_churn(stage: Stage, client: Client) -> None:
    """While records are written, processes are killed, members leave and others come."""
    strategy = STRATEGIES[client][0]
    topic, steady = stage.topic(12), stage.host(client)
    members = [steady.start(topic, topic, strategy)]
    for _ in range(3):
        dying, going = stage.host(client), steady.start(topic, topic, strategy)
        doomed = [dying.start(topic, topic, strategy, session=1_500, heartbeat=100) for _ in range(2)]
        members += [going, *doomed]
        stage.produce(12)
        stage.wait(doomed, "they have a part")
        stage.produce(12)
        dying.kill()
        going.ask_to_stop()
        stage.produce(12)
    stage.settle(members[:1], 12, "the first member has all partitions")
    stage.all_seen(members, 12)
