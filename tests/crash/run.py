"""The rounds: clients work, the gateway is killed, starts again, and what is there is compared."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from confluent_kafka.admin import AdminClient, NewTopic

from tests.crash.broker import Broker
from tests.crash.clients import KINDS, TOPIC, Committing, MakingTopics, Producing, Reading, Worker
from tests.crash.history import History, Wrong

PARTITIONS = 3


class Report(NamedTuple):
    """What was seen. Times in seconds."""

    rounds: int
    kills: int
    acknowledged: int
    records: int
    duplicates: int
    commits: int
    topics: int
    starts: list[float]

    def __str__(self) -> str:
        middle, worst = statistics.median(self.starts), max(self.starts)
        return (
            f"{self.rounds} rounds, {self.kills} kills: {self.acknowledged} records acknowledged and there, "
            f"{self.records} in the log ({self.duplicates} again, of plain producers), "
            f"{self.commits} commits acknowledged, {self.topics} topics created and deleted; "
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
) -> Report:
    """``storage``: lines of the ``[storage]`` table. :raises Wrong: a promise was broken."""
    chance = random.Random(seed)
    directory.mkdir(parents=True, exist_ok=True)
    broker = Broker(directory, storage)
    broker.start()
    try:
        return _rounds(broker, rounds, chance, say)
    except BaseException as error:
        error.add_note(f"seed {seed}; the end of the log:\n{broker.tail()}")
        raise
    finally:
        broker.kill()


def _rounds(broker: Broker, rounds: int, chance: random.Random, say: Callable[[str], object]) -> Report:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(30.0)
    cluster = admin.list_topics(timeout=30.0).cluster_id
    history = History(PARTITIONS, {number for number, kind in enumerate(KINDS) if kind.idempotent})
    producers = [
        Producing(number, broker.bootstrap, history, chance.randrange(1 << 30))
        for number in range(len(KINDS))
    ]
    committer = Committing(broker.bootstrap, PARTITIONS)
    topics = MakingTopics(broker.bootstrap)
    workers: list[Worker] = [*producers, committer, topics]
    reading = Reading(broker.bootstrap, history)
    for worker in workers:
        worker.start()
    kills = 0
    for round in range(1, rounds + 1):
        if chance.random() < 0.8:
            _until_answered(history, time.monotonic() + UNTIL_ANSWERED)
        time.sleep(chance.uniform(0.0, 0.8))
        acknowledged = history.count()
        broker.kill()
        kills += 1 + broker.start_amid_kills(chance)
        if chance.random() < 0.5:  # else it is killed again before anybody has read
            reading.read_on()
            history.check(all_read=False)
        for worker in workers:
            worker.check()
        say(f"round {round}: {acknowledged} acknowledged, started in {broker.starts[-1]:.2f} s")
    for worker in reversed(workers):
        worker.end()
    topics.compare()
    broker.kill()
    broker.start()
    kills += 1
    reading.read_on()
    history.check(all_read=True)
    topics.compare()
    for producer in producers:
        _all_there(producer, history)
    if admin.list_topics(timeout=30.0).cluster_id != cluster:
        raise Wrong("the cluster has another id")
    broker.stop()
    if broker.tracebacks():
        raise Wrong(f"{broker.tracebacks()} tracebacks in the log")
    return Report(
        rounds,
        kills,
        history.count(),
        sum(map(len, history.log.values())),
        history.duplicates,
        committer.least,
        len(topics.gone),
        broker.starts,
    )


def _until_answered(history: History, deadline: float) -> None:
    before = history.count()
    while history.count() == before and time.monotonic() < deadline:
        time.sleep(0.005)


def _all_there(producer: Producing, history: History) -> None:
    """All that it sent was acknowledged in the end, so all numbers are there."""
    lasts = history.lasts()
    for partition, sent in producer.sent.items():
        last = lasts.get((partition, producer._number), -1)
        if last != sent - 1:
            raise Wrong(f"{producer.kind.name} sent {sent} to {partition}; the last in the log is {last}")
