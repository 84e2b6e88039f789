"""The rounds: clients work, the gateway is killed and starts again, and the data is compared."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from confluent_kafka.admin import AdminClient, NewTopic

from tests.crash import reading
from tests.crash.admins import MakingTopics, Trimming
from tests.crash.broker import Broker
from tests.crash.clients import COMPACTED, KINDS, TRIMMED, WHOLE, Producing, Worker
from tests.crash.groups import Committing, Following, Places
from tests.crash.history import Compacted, History, Trimmed, Whole
from tests.crash.records import Wrong

PARTITIONS = 3
TOPICS = {
    WHOLE: {"retention.bytes": "-1"},
    TRIMMED: {"retention.bytes": "300000"},
    COMPACTED: {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.1",
        "delete.retention.ms": "1000",
    },
}


class Report(NamedTuple):
    """The counts of a run. Times are in seconds."""

    rounds: int
    kills: int
    refused: int
    acknowledged: int
    records: int
    duplicates: int
    commits: int
    followed: int
    topics: int
    trims: int
    gone: int
    compacted: tuple[int, int]
    starts: list[float]

    def __str__(self) -> str:
        middle, worst = statistics.median(self.starts), max(self.starts)
        left, sent = self.compacted
        return (
            f"{self.rounds} rounds, {self.kills} kills, {self.refused} starts refused by the storage: "
            f"{self.acknowledged} records acknowledged and there, "
            f"{self.records} in the log ({self.duplicates} again, of plain producers), "
            f"{self.commits} commits acknowledged, {self.followed} records read by a group, "
            f"{self.topics} topics created and deleted, {self.gone} records deleted (by {self.trims} "
            f"requests, the others by retention), {left} of {sent} left by compaction; "
            f"recovered in {middle:.2f} s (median), {worst:.2f} s (worst)"
        )


UNTIL_ANSWERED = 10.0
"""How long the clients get, mostly, until one of them is answered again; then the next kill may come."""


def run(
    directory: Path,
    storage: str,
    rounds: int,
    seed: int,
    say: Callable[[str], object] = lambda line: None,
    *,
    faults: bool = False,
) -> Report:
    """``storage``: lines of the ``[storage]`` table. ``faults``: it fails by chance.

    :raises Wrong: a promise was broken.
    """
    chance = random.Random(seed)
    directory.mkdir(parents=True, exist_ok=True)
    broker = Broker(directory, storage, seed=chance.randrange(1 << 30))
    broker.start()
    try:
        return Rounds(broker, chance, say).run(rounds, faults=faults)
    except BaseException as error:
        error.add_note(f"seed {seed}; the end of the log:\n{broker.tail()}")
        raise
    finally:
        broker.kill()


class Rounds:
    """All clients, and their answers."""

    def __init__(self, broker: Broker, chance: random.Random, say: Callable[[str], object]) -> None:
        self._broker = broker
        self._chance = chance
        self._say = say
        self._admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        new = [NewTopic(name, PARTITIONS, 1, config=config) for name, config in TOPICS.items()]
        for future in self._admin.create_topics(new).values():
            future.result(30.0)
        self._cluster = self._admin.list_topics(timeout=30.0).cluster_id
        whole = [n for n, kind in enumerate(KINDS) if kind.topic == WHOLE and kind.idempotent]
        [trimmed] = [n for n, kind in enumerate(KINDS) if kind.topic == TRIMMED]
        [compacted] = [n for n, kind in enumerate(KINDS) if kind.topic == COMPACTED]
        self.whole = Whole(WHOLE, PARTITIONS, whole)
        self.trimmed = Trimmed(TRIMMED, PARTITIONS, {trimmed})
        self.compacted = Compacted(COMPACTED, PARTITIONS, compacted)
        self._histories: dict[str, History] = {
            WHOLE: self.whole,
            TRIMMED: self.trimmed,
            COMPACTED: self.compacted,
        }
        at = broker.bootstrap
        self._producers = [
            Producing(number, at, self._histories[kind.topic], chance.randrange(1 << 30))
            for number, kind in enumerate(KINDS)
        ]
        self._committer = Committing(at, WHOLE, self.whole.partitions)
        self._places = Places(WHOLE)
        self._topics = MakingTopics(at)
        self._trimming = Trimming(at, self.trimmed, chance.randrange(1 << 30))
        self._workers: list[Worker] = [
            *self._producers,
            self._committer,
            self._topics,
            self._trimming,
            Following(at, self._places),
            Following(at, self._places),
        ]

    def run(self, rounds: int, *, faults: bool) -> Report:
        broker, chance = self._broker, self._chance
        broker.faults = faults
        for worker in self._workers:
            worker.start()
        kills = 0
        for round in range(1, rounds + 1):
            if chance.random() < 0.8:
                self._until_answered(time.monotonic() + UNTIL_ANSWERED)
            time.sleep(chance.uniform(0.0, 0.8))
            acknowledged = self._acknowledged()
            if chance.random() < 0.2:
                broker.stop()
            else:
                broker.kill()
                kills += 1
            kills += broker.start_amid_kills(chance)
            if chance.random() < 0.5:  # else it is killed again before anybody has read
                self._compare()
            for worker in self._workers:
                worker.check()
            self._say(f"round {round}: {acknowledged} acknowledged, started in {broker.starts[-1]:.2f} s")
        for worker in self._workers:
            worker.ask_to_end()
        for worker in reversed(self._workers):
            worker.end()
        broker.kill()
        broker.faults = False
        broker.start()
        kills += 1
        self._compare()
        self._topics.compare()
        for producer in self._producers:
            self._all_there(producer)
        if self._admin.list_topics(timeout=30.0).cluster_id != self._cluster:
            raise Wrong("the cluster has another id")
        broker.stop()
        if broker.tracebacks():
            raise Wrong(f"tracebacks in the log: {broker.tracebacks()[:5]}")
        return Report(
            rounds,
            kills,
            broker.refused,
            self._acknowledged(),
            sum(map(len, self.whole.log.values())),
            self.whole.duplicates,
            self._committer.commits + self._places.commits,
            self._places.seen,
            len(self._topics.gone),
            self._trimming.done,
            sum(self.trimmed.starts.values()),
            (sum(self.compacted.left.values()), sum(self.compacted.sent.values())),
            broker.starts,
        )

    def _acknowledged(self) -> int:
        return sum(history.count() for history in self._histories.values())

    def _compare(self) -> None:
        for history in self._histories.values():
            reading.compare(self._broker.bootstrap, history)

    def _until_answered(self, deadline: float) -> None:
        before = self._acknowledged()
        while self._acknowledged() == before and time.monotonic() < deadline:
            time.sleep(0.005)

    def _all_there(self, producer: Producing) -> None:
        """All that it sent was acknowledged in the end, so all numbers are there."""
        for (partition, number), highest in producer.history.implied.items():
            if number == producer.number:
                self._say(f"{producer} was not told the offset of number {highest} in partition {partition}")
        if producer.history is not self.whole:
            return
        for partition, sent in producer.sent.items():
            there = self.whole.orders[partition].count(producer.number)
            if there != sent:
                raise Wrong(f"{producer} sent {sent} to {partition}; there are {there}")
