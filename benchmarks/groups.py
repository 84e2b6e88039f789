"""Groups: how soon they are stable, beside Apache Kafka in one run; what many of them cost.

``python -m benchmarks.groups times``: 4 members on 12 partitions become stable; one leaves; one is killed.
librdkafka's consumers, a process each, heartbeats every 100 ms, sessions of 6 s, no initial delay. Medians
over rounds in which the brokers take turns.

``python -m benchmarks.groups load``: 1,000 groups of 3: CPU of the broker for their heartbeats, and memory
a member.
"""

from __future__ import annotations

import argparse
import json
import queue
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from benchmarks.peers import PEERS
from benchmarks.peers.base import Server

PARTITIONS, MEMBERS = 12, 4
SESSION_MS, HEARTBEAT_MS = 6_000, 100
SECONDS = 60.0

Owners = dict[str, frozenset[int]]


class Member:
    """A consumer in a process of its own; its assignments go into ``events`` with the time they came."""

    def __init__(
        self, bootstrap: str, group: str, topic: str, name: str,
        events: queue.Queue[tuple[float, str, frozenset[int]]],
    ) -> None:  # fmt: skip
        self.name = name
        command = [sys.executable, "-m", "benchmarks.groups", "member", bootstrap, group, topic]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._events = events
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            told = json.loads(line)
            self._events.put((told["at"], self.name, frozenset(told["partitions"])))

    def say(self, word: str) -> None:
        """ "go": subscribe; "leave": close."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def be_a_member(bootstrap: str, group: str, topic: str) -> None:
    """The process of a :class:`Member`."""
    import confluent_kafka

    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "partition.assignment.strategy": "range",
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": HEARTBEAT_MS,
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
        }
    )
    words: queue.Queue[str] = queue.Queue()

    def tell(_: object, partitions: Sequence[confluent_kafka.TopicPartition]) -> None:
        print(json.dumps({"at": time.monotonic(), "partitions": [one.partition for one in partitions]}))
        sys.stdout.flush()

    def listen() -> None:
        for line in sys.stdin:
            words.put(line.strip())
        words.put("leave")

    consumer.list_topics(topic, timeout=30)  # connected, with metadata: only the group is measured
    print("ready", flush=True)
    threading.Thread(target=listen, daemon=True).start()
    assert words.get() == "go"
    consumer.subscribe([topic], on_assign=tell, on_revoke=lambda consumer, _: tell(consumer, ()))
    while words.empty():
        consumer.poll(0.01)
    consumer.close()


def until(
    events: queue.Queue[tuple[float, str, frozenset[int]]],
    owners: Owners,
    holds: Callable[[], bool],
    begin: float,
) -> float:
    """Seconds from ``begin`` until the owners are as they have to be."""
    while True:
        at, name, partitions = events.get(timeout=SECONDS)
        if name in owners:
            owners[name] = partitions
            if holds():
                return at - begin


def one_round(server: Server, number: int) -> dict[str, float]:
    """Seconds for each of the three."""
    from confluent_kafka.admin import AdminClient, NewTopic

    topic = f"groups-{number}"
    admin = AdminClient({"bootstrap.servers": server.bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    events: queue.Queue[tuple[float, str, frozenset[int]]] = queue.Queue()
    members = [Member(server.bootstrap, topic, topic, f"m{index}", events) for index in range(MEMBERS)]
    owners: Owners = {member.name: frozenset() for member in members}

    def shared() -> bool:
        owned = [partition for parts in owners.values() for partition in parts]
        return sorted(owned) == list(range(PARTITIONS)) and all(owners.values())

    found = {}
    try:
        begin = time.monotonic()
        for member in members:
            member.say("go")
        found["stable"] = until(events, owners, shared, begin)
        time.sleep(1)
        del owners[members[0].name]
        begin = time.monotonic()
        members[0].say("leave")
        found["left"] = until(events, owners, shared, begin)
        time.sleep(1)
        del owners[members[1].name]
        begin = time.monotonic()
        members[1].process.send_signal(signal.SIGKILL)
        found["died"] = until(events, owners, shared, begin)
    finally:
        for member in members:
            member.end()
    return found


def times(names: Sequence[str], rounds: int) -> None:
    """Print the medians, and the range."""
    servers = {name: _started(name) for name in names}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    try:
        for server in servers.values():  # the first group makes Kafka's offsets topic, and warms up
            one_round(server, -1)
        for number in range(rounds):
            for name, server in servers.items():
                found[name].append(one_round(server, number))
    finally:
        for server in servers.values():
            server.stop()
    print(f"{MEMBERS} members on {PARTITIONS} partitions; median (lowest to highest) of {rounds} rounds")
    for name, rows in found.items():
        cells = []
        for what in ("stable", "left", "died"):
            values = sorted(row[what] for row in rows)
            cells.append(f"{what} {statistics.median(values):.3f} s ({values[0]:.3f} to {values[-1]:.3f})")
        print(f"{name:6} {PEERS[name].version:24} {' · '.join(cells)}")


def _started(name: str) -> Server:
    PEERS[name].build()
    return Server(PEERS[name])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_subparsers(dest="what", required=True)
    for name, default in (("times", 5), ("load", 1)):
        one = what.add_parser(name)
        one.add_argument("--peers", nargs="+", default=["kgw", "kafka"])
        one.add_argument("--rounds", type=int, default=default)
        one.add_argument("--groups", type=int, default=1_000)
    member = what.add_parser("member")
    for argument in ("bootstrap", "group", "topic"):
        member.add_argument(argument)
    options = parser.parse_args(arguments)
    if options.what == "member":
        be_a_member(options.bootstrap, options.group, options.topic)
    elif options.what == "times":
        times(options.peers, options.rounds)
    else:
        from benchmarks.group_load import load

        for name in options.peers:
            with _started(name) as server:
                load(server, name, options.groups)


if __name__ == "__main__":
    main()
