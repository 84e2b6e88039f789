"""``kgw groups`` against a running gateway, with groups of a real client, and as older brokers are asked."""

from __future__ import annotations

import importlib.metadata
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import anyio
import confluent_kafka
import pytest
from anyio.abc import SocketAttribute
from click.testing import CliRunner, Result
from confluent_kafka.admin import AdminClient, NewTopic
from group_members import ConfluentMember, wait_until

from kgw_core.cli import main
from kgw_core.client import Client, ClientError, groups
from kgw_core.client.connection import software_version
from kgw_core.client.offsets import EARLIEST, LATEST, list_offsets
from kgw_core.errors import GroupIdNotFound, UnknownMemberId, UnsupportedVersion
from kgw_core.testing.gateway import GatewayProcess

PARTITIONS = 3

KAFKA_0_10_2 = {
    "ApiVersions": 0, "FindCoordinator": 0, "ListGroups": 0, "DescribeGroups": 0, "OffsetFetch": 2,
    "OffsetCommit": 2, "ListOffsets": 1, "Metadata": 2,
}  # fmt: skip
KAFKA_1_1 = {
    "ApiVersions": 1, "FindCoordinator": 1, "ListGroups": 1, "DescribeGroups": 1, "OffsetFetch": 3,
    "OffsetCommit": 3, "ListOffsets": 2, "Metadata": 5, "DeleteGroups": 0,
}  # fmt: skip
KAFKA_2_4 = {
    "ApiVersions": 3, "FindCoordinator": 3, "ListGroups": 3, "DescribeGroups": 5, "OffsetFetch": 6,
    "OffsetCommit": 8, "ListOffsets": 5, "Metadata": 9, "DeleteGroups": 2,
}  # fmt: skip
AGES: dict[str, Mapping[str, int]] = {
    "0.10.2": KAFKA_0_10_2,
    "1.1": KAFKA_1_1,
    "2.4": KAFKA_2_4,
    "newest": {},
}
"""The newest versions of brokers of these ages."""


@pytest.fixture
def topic(dev_gateway: GatewayProcess, name: str) -> str:
    """A topic with 10 records in each of its partitions; record n has the timestamp 1000 * n."""
    make_topic(dev_gateway.bootstrap, name, PARTITIONS)
    producer = confluent_kafka.Producer({"bootstrap.servers": dev_gateway.bootstrap, "linger.ms": 0})
    for index in range(PARTITIONS * 10):
        producer.produce(
            name, b"%d" % index, partition=index % PARTITIONS, timestamp=1000 + 1000 * (index // PARTITIONS)
        )
    assert producer.flush(10) == 0
    return name


@pytest.fixture
def member(dev_gateway: GatewayProcess, topic: str) -> Iterator[ConfluentMember]:
    """A consumer of the topic, in a group of its name, that has read all."""
    made = ConfluentMember(dev_gateway.bootstrap, topic, topic, **{"client.id": "reader"})
    try:
        wait_until(lambda: len(made.seen) == PARTITIONS * 10, "all is read")
        yield made
    finally:
        made._stop.set()
        made.stop()


@pytest.fixture
def group(dev_gateway: GatewayProcess, topic: str) -> str:
    """A group without members, at 4 in each partition of the topic."""
    place(dev_gateway.bootstrap, topic, {(topic, index): 4 for index in range(PARTITIONS)})
    return topic


def make_topic(bootstrap: str, name: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(10)


def place(bootstrap: str, group: str, places: dict[tuple[str, int], int]) -> None:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    offsets = [confluent_kafka.TopicPartition(*where, offset) for where, offset in places.items()]
    consumer.commit(offsets=offsets, asynchronous=False)
    consumer.close()


@pytest.fixture
def kgw(dev_gateway: GatewayProcess) -> Callable[..., Result]:
    def invoke(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(
            main, ["groups", *arguments], env={"KGW_BOOTSTRAP": dev_gateway.bootstrap}
        )
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def document(kgw: Callable[..., Result]) -> Callable[..., Any]:
    """The output of the command for programs."""
    return lambda *arguments, code=0: json.loads(kgw(*arguments, code=code).stdout)


def places(kgw: Callable[..., Any], group: str) -> list[int]:
    (told,) = json.loads(kgw("describe", group).stdout)
    return [row["committed"] for row in told["offsets"]]


# -- list and describe


def test_a_list_has_every_group(document: Callable[..., Any], kgw: Callable[..., Result], group: str) -> None:
    mine = {"group": group, "type": "classic", "protocol_type": "", "state": "Empty", "coordinator": 1}
    assert mine in document("list")
    assert mine in document("list", "--state", "empty", "--type", "Classic")
    assert mine not in document("list", "--state", "Stable")
    assert mine not in document("list", "--type", "share")
    heads, *rows = kgw("list", "--table").stdout.splitlines()
    assert heads.split() == ["GROUP", "TYPE", "PROTOCOL", "STATE", "COORDINATOR"]
    assert [group, "classic", "-", "Empty", "1"] in [row.split() for row in rows]
    assert kgw("list", "--table", "--state", "Dead").stdout == "no groups\n"


def test_a_live_group_is_described(
    document: Callable[..., Any], kgw: Callable[..., Result], member: ConfluentMember, topic: str
) -> None:
    wait_until(lambda: places(kgw, topic) == [10] * PARTITIONS, "all is committed")
    (told,) = document("describe", topic)
    assert (told["state"], told["protocol_type"], told["protocol"]) == ("Stable", "consumer", "range")
    assert told["lag"] == 0
    (one,) = told["members"]
    assert one["id"].startswith("reader-")
    assert (one["client_id"], one["host"], one["instance_id"]) == ("reader", "/127.0.0.1", None)
    assert one["partitions"] == [{"topic": topic, "partition": index} for index in range(PARTITIONS)]
    for index, row in enumerate(told["offsets"]):
        assert (row["topic"], row["partition"]) == (topic, index)
        assert (row["committed"], row["end"], row["lag"], row["error"]) == (10, 10, 0, None)
        assert (row["member"], row["host"], row["client_id"]) == (one["id"], "/127.0.0.1", "reader")


def test_people_see_a_table(kgw: Callable[..., Result], member: ConfluentMember, topic: str) -> None:
    title, heads, *rows = kgw("describe", "--table", topic).stdout.splitlines()
    assert title.startswith(f"{topic}: classic, Stable, consumer/range, 1 member, lag ")
    assert heads.split()[:5] == ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG"]
    assert len(rows) == PARTITIONS
    _, heads, row = kgw("describe", "--table", "--members", topic).stdout.splitlines()
    assert heads.split() == ["MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"]
    assert row.split()[1:] == ["-", "reader", "/127.0.0.1", f"{topic}:0,1,2"]


def test_members_without_partitions_are_counted(
    kgw: Callable[..., Result], dev_gateway: GatewayProcess, topic: str
) -> None:
    members = [ConfluentMember(dev_gateway.bootstrap, topic, topic) for _ in range(PARTITIONS + 1)]
    try:
        wait_until(
            lambda: (
                "1 member without partitions" in kgw("describe", "--table", topic).stdout
                if sum(bool(one.assigned) for one in members) == PARTITIONS
                else False
            ),
            "one is idle",
        )
    finally:
        for one in members:
            one._stop.set()
        for one in members:
            one.stop()


def test_lag_is_what_lies_behind_the_place(document: Callable[..., Any], group: str) -> None:
    (told,) = document("describe", group)
    assert [row["lag"] for row in told["offsets"]] == [6] * PARTITIONS
    assert (told["lag"], told["state"], told["members"]) == (18, "Empty", [])


def test_what_fails_is_told_beside_what_does_not(kgw: Callable[..., Result], group: str) -> None:
    result = kgw("describe", group, "nobody", "--json", code=1)
    assert [told["group"] for told in json.loads(result.stdout)] == [group]
    assert "nobody: GROUP_ID_NOT_FOUND" in result.stderr


# -- reset-offsets


@pytest.mark.parametrize(
    ("arguments", "new"),
    [
        (["--to-earliest"], 0),
        (["--to-latest"], 10),
        (["--to-offset", "7"], 7),
        (["--to-offset", "70"], 10),
        (["--shift-by", "-3"], 1),
        (["--shift-by=2"], 6),
        (["--to-datetime", "1970-01-01T00:00:05+00:00"], 4),
        (["--to-datetime", "1970-01-01T01:00:05.500+01:00"], 5),
        (["--to-datetime", "2020-01-01"], 10),
    ],
    ids=lambda value: "".join(value) if isinstance(value, list) else str(value),
)
def test_a_group_goes_where_it_is_told(
    kgw: Callable[..., Result], document: Callable[..., Any], group: str, arguments: list[str], new: int
) -> None:
    """First it is only shown."""
    shown = kgw("reset-offsets", group, "--all-topics", *arguments)
    told = json.loads(shown.stdout)
    assert (told["executed"], told["state"]) == (False, "Empty")
    assert [(row["current"], row["new"]) for row in told["partitions"]] == [(4, new)] * PARTITIONS
    assert "dry run" in shown.stderr
    assert places(kgw, group) == [4] * PARTITIONS
    told = document("reset-offsets", group, "--all-topics", *arguments, "--execute")
    assert told["executed"]
    assert [row["error"] for row in told["partitions"]] == [None] * PARTITIONS
    assert places(kgw, group) == [new] * PARTITIONS


def test_single_partitions_can_be_named(kgw: Callable[..., Result], group: str) -> None:
    result = kgw("reset-offsets", group, "--topic", f"{group}:0,2", "--to-latest", "--execute", "--table")
    heads, *rows = result.stdout.splitlines()
    assert heads.split() == ["TOPIC", "PARTITION", "CURRENT", "NEW", "CHANGE", "NOTE"]
    assert [row.split()[1:] for row in rows] == [["0", "4", "10", "6", "-"], ["2", "4", "10", "6", "-"]]
    assert places(kgw, group) == [10, 4, 10]


def test_a_group_that_is_not_there_can_be_given_a_place(kgw: Callable[..., Result], topic: str) -> None:
    kgw("reset-offsets", "unheard-of", "--topic", f"{topic}:1", "--to-offset", "3", "--execute")
    assert places(kgw, "unheard-of") == [3]


def test_a_group_with_members_stays_where_it_is(
    kgw: Callable[..., Result], member: ConfluentMember, topic: str
) -> None:
    shown = kgw("reset-offsets", topic, "--all-topics", "--to-earliest", "--table")
    assert "is Stable: stop its members" in shown.stderr
    refused = kgw("reset-offsets", topic, "--all-topics", "--to-earliest", "--execute", code=1)
    assert "is Stable: stop its members first" in refused.stderr
    wait_until(lambda: places(kgw, topic) == [10] * PARTITIONS, "all is committed")


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        ([], "say where to", 2),
        (["--to-latest", "--to-earliest", "--all-topics"], "say where to", 2),
        (["--to-latest"], "say of which partitions", 2),
        (["--to-latest", "--all-topics", "--topic", "t"], "say of which partitions", 2),
        (["--to-latest", "--topic", "t:x"], "orders:0,3 is one", 2),
        (["--to-latest", "--topic", ":1"], "orders:0,3 is one", 2),
        (["--to-datetime", "soon", "--all-topics"], '"soon" is no time', 2),
        (["--to-offset", "-1", "--all-topics"], "-1 is not in the range", 2),
        (["--to-latest", "--topic", "no-such-topic"], "there is no topic no-such-topic", 1),
        (["--to-latest", "--topic", "GROUP:0,3"], "there is no GROUP-3", 1),
        (["--shift-by", "1", "--topic", "OTHER"], "OTHER-0: nothing is committed", 1),
    ],
)
def test_what_cannot_be_is_told(
    kgw: Callable[..., Result],
    dev_gateway: GatewayProcess,
    new_name: Callable[[], str],
    group: str,
    arguments: list[str],
    told: str,
    code: int,
) -> None:
    other = new_name()
    make_topic(dev_gateway.bootstrap, other, 1)

    def named(text: str) -> str:
        return text.replace("GROUP", group).replace("OTHER", other)

    assert named(told) in kgw("reset-offsets", group, *map(named, arguments), code=code).stderr


def test_a_group_without_a_place_needs_topics(kgw: Callable[..., Result]) -> None:
    refused = kgw("reset-offsets", "nowhere", "--all-topics", "--to-latest", code=1)
    assert "name some with --topic" in refused.stderr


# -- delete


def test_a_group_is_deleted_when_that_is_meant(
    kgw: Callable[..., Result], document: Callable[..., Any], group: str
) -> None:
    told = {"group": group, "state": "Empty", "offsets": PARTITIONS, "deleted": False, "error": None}
    shown = kgw("delete", group)
    assert json.loads(shown.stdout) == [told]
    assert "dry run" in shown.stderr
    assert document("delete", group, "--execute") == [{**told, "deleted": True}]
    assert group not in [one["group"] for one in document("list")]


def test_groups_with_members_and_groups_that_are_not_there_are_not_deleted(
    kgw: Callable[..., Result], member: ConfluentMember, topic: str
) -> None:
    result = kgw("delete", topic, "nobody", "--execute", "--table", code=1)
    _, mine, nobody = result.stdout.splitlines()
    assert (mine.split()[1], mine.split()[-1]) == ("Stable", "no")
    assert nobody.split() == ["nobody", "none", "0", "no"]
    assert f"group {topic} is Stable" in result.stderr
    assert "there is no group nobody" in result.stderr


# -- failures


def test_a_broker_that_is_not_there_is_told_in_one_line() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{unused.getsockname()[1]}"
        result = CliRunner().invoke(main, ["groups", "list", "-b", f"{where},{where}"])
    assert result.exit_code == 1
    assert (
        result.stderr
        == "Error: " + "; ".join([f"{where} cannot be connected to: connection refused"] * 2) + "\n"
    )


def mistaken(*arguments: str, **env: str) -> str:
    """The errors of wrong command lines."""
    result = CliRunner().invoke(main, ["groups", *arguments], env=env)
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr.partition("\nError: ")[2]


def test_an_address_that_is_none_is_told_with_where_it_is_from() -> None:
    told = '"host:port" is no address: HOST or HOST:PORT is one\n'
    told = f"Invalid value for '-b' / '--bootstrap' / '--bootstrap-server' (env var: 'KGW_BOOTSTRAP'): {told}"
    for command in (["list"], ["describe", "a"], ["delete", "a"], ["reset-offsets", "a"]):
        assert mistaken(*command, "-b", "host:port") == told
    assert mistaken("list", KGW_BOOTSTRAP="host:port") == told


def test_states_and_types_that_there_are_not_are_told_with_those_that_there_are() -> None:
    assert mistaken("list", "--state", "empty", "--state", "Foo") == (
        "Invalid value for '--state': there is no Foo; expected Empty, Stable, PreparingRebalance, "
        "CompletingRebalance, Assigning, Reconciling, NotReady or Dead\n"
    )
    assert mistaken("list", "--type", "Foo") == (
        "Invalid value for '--type': there is no Foo; expected classic, consumer, share or streams\n"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to-datetime", "soon"], '"soon" is no time'),
        (["--to-datetime", "2026-13-01"], '"2026-13-01" is no time'),
        (["--to-datetime", "1969-12-31T23:59:59.999+00:00"], "is before 1970"),
        (["--to-offset", "-1"], "-1 is not in the range x>=0"),
        (["--to-latest", "--to-earliest"], "say where to: one of"),
        (["--to-latest", "--all-topics"], "say of which partitions"),
    ],
)
def test_places_that_are_none_are_told(arguments: list[str], told: str) -> None:
    assert told in mistaken("reset-offsets", "a", "--topic", "a", *arguments)
    assert "orders:0,3 is one" in mistaken("reset-offsets", "a", "--to-latest", "--topic", "a:b")


def test_what_there_is_not_is_told(kgw: Callable[..., Result], topic: str) -> None:
    assert kgw("describe", "nosuch", code=1).stderr.startswith("Error: nosuch: GROUP_ID_NOT_FOUND")
    told = kgw("reset-offsets", "a", "--to-latest", "--topic", "nosuch", "--topic", f"{topic}:1,7", code=1)
    assert told.stderr.splitlines() == [
        "Error: there is no topic nosuch",
        f"topic {topic} has {PARTITIONS} partitions: there is no {topic}-7",
    ]


def test_the_second_address_is_asked_where_the_first_is_dead(dev_gateway: GatewayProcess) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{unused.getsockname()[1]},{dev_gateway.bootstrap}"
        assert CliRunner().invoke(main, ["groups", "list", "-b", where]).exit_code == 0


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks HTTP, not Kafka"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak Kafka: an answer of 1397966893 bytes"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "wants TLS, which is not spoken here"),
        (
            b"",
            "closed the connection instead of answering ApiVersions v3; is it a Kafka listener, without TLS "
            "and SASL?",
        ),
        (None, "did not answer ApiVersions within 0.3 s; is it a Kafka listener, without TLS and SASL?"),
    ],
)
def test_what_speaks_something_else_is_told(answer: bytes | None, told: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted:
                if answer is not None:
                    accepted.recv(1000)
                    accepted.sendall(answer)
                    accepted.shutdown(socket.SHUT_WR)
                while accepted.recv(1000):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        where = f"127.0.0.1:{server.getsockname()[1]}"
        seconds = "0.3" if answer is None else "20"
        result = CliRunner().invoke(main, ["groups", "list", "-b", where, "--timeout", seconds])
        thread.join(10)
    assert (result.exit_code, result.stderr) == (1, f"Error: {where} {told}\n")


def test_the_client_introduces_itself_with_the_version_that_is_installed(dev_gateway: GatewayProcess) -> None:
    assert CliRunner().invoke(main, ["groups", "list", "-b", dev_gateway.bootstrap]).exit_code == 0
    version = importlib.metadata.version("kgw-core")
    assert re.fullmatch(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?", software_version()), "KIP-511"
    dev_gateway.wait_for_log(rf"kgw {re.escape(version)}\b")


def test_the_command_is_there(dev_gateway: GatewayProcess) -> None:
    """The command runs as a process: without a terminal it writes JSON."""
    command = [sys.executable, "-c", "from kgw_core.cli import main; main(prog_name='kgw')", "groups", "list"]
    done = subprocess.run(
        [*command, "-b", dev_gateway.bootstrap, "--timeout", "20"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)


# -- the client, and what older brokers are asked


@pytest.mark.parametrize("age", AGES)
def test_older_brokers_are_asked_what_they_know(
    dev_gateway: GatewayProcess, member: ConfluentMember, topic: str, new_name: Callable[[], str], age: str
) -> None:
    other = new_name()

    async def ask() -> None:
        async with Client(dev_gateway.bootstrap, newest=AGES[age]) as client:
            assert topic in [one.group for one in await groups.list_groups(client)]
            told = await groups.describe(client, topic)
            assert (told.state, told.protocol) == ("Stable", "range")
            assert told.members[0].partitions == [(topic, index) for index in range(PARTITIONS)]
            with pytest.raises(GroupIdNotFound):
                await groups.describe(client, other)
            assert await groups.committed(client, other) == {}
            ends = await list_offsets(client, {(topic, 0): LATEST, (topic, 1): EARLIEST, (topic, 2): 5000})
            assert ends == {(topic, 0): 10, (topic, 1): 0, (topic, 2): 4}
            assert await groups.commit(client, other, {(topic, 0): 3, (topic, 1): 4}) == {
                (topic, 0): None, (topic, 1): None,
            }  # fmt: skip
            found = await groups.committed(client, other)
            assert {where: told.offset for where, told in found.items()} == {(topic, 0): 3, (topic, 1): 4}
            refused = await groups.commit(client, topic, {(topic, 0): 3})
            assert isinstance(refused[topic, 0], UnknownMemberId)
            outcome = await groups.delete(client, [other, topic])
            assert (outcome[other], getattr(outcome[topic], "name", "")) == (None, "NON_EMPTY_GROUP")

    anyio.run(ask)


def test_a_broker_too_old_is_told(dev_gateway: GatewayProcess, topic: str) -> None:
    async def ask() -> None:
        async with Client(dev_gateway.bootstrap, newest={"DeleteGroups": -1}) as client:
            outcome = await groups.delete(client, ["g"])
            assert isinstance(outcome["g"], UnsupportedVersion)

    anyio.run(ask)


def test_many_groups_are_found_at_once(dev_gateway: GatewayProcess, topic: str) -> None:
    async def ask() -> None:
        async with Client(dev_gateway.bootstrap) as client:
            names = [f"{topic}-{index}" for index in range(20)]
            found = await client.coordinators(names)
            assert set(found) == set(names)
            assert {f"127.0.0.1:{node.port}" for node in found.values()} == {dev_gateway.bootstrap}
            assert await client.topics(["never-heard-of"]) == {}
            unknown = await list_offsets(client, {("never-heard-of", 0): LATEST, (topic, 99): LATEST})
            assert [getattr(error, "name", None) for error in unknown.values()] == [
                "UNKNOWN_TOPIC_OR_PARTITION"
            ] * 2

    anyio.run(ask)


def test_a_connection_that_was_closed_meanwhile_is_made_again(dev_gateway: GatewayProcess) -> None:
    async def ask() -> None:
        async with Client(dev_gateway.bootstrap) as client:
            await client.nodes()
            for connection in client._connections.values():
                connection._stream.extra(SocketAttribute.raw_socket).shutdown(socket.SHUT_RDWR)
            assert [node.id for node in await client.nodes()] == [1]
            with pytest.raises(ClientError):
                Client("")

    anyio.run(ask)
