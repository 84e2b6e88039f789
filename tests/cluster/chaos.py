"""Gateways on one store that are paused, held up in an append, or restarted at random, under real clients.

``python tests/cluster/chaos.py --seconds 60 --seed 1``. The clients are an idempotent producer of librdkafka,
one of aiokafka, and a group of two consumers. In the end every acknowledged record has to be in the logs,
once and in order, and the group has to have seen it. The random choices come from the seed; the times do not.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, KafkaException
from members import CLIENT, PARTITIONS, SECONDS, Cluster, Member, Writer, a_cluster, consumed, create, until

NODES = (1, 2, 3)
STUCK = 20.0
"""Seconds without an acknowledgement after which a run fails. Leases and sessions last for one."""
UNANSWERED = 400
"""How many records of aiokafka's producer wait for their acknowledgement at most."""


class AioWriter(threading.Thread):
    """An idempotent producer of aiokafka. ``acknowledged``: values by partition."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[int, list[bytes]] = {index: [] for index in range(PARTITIONS)}
        self.failed: list[Exception] = []
        self.stopping = False
        self._servers = bootstrap

    def run(self) -> None:
        asyncio.run(self._write())

    async def _write(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers.split(","),
            enable_idempotence=True,
            request_timeout_ms=5000,
            metadata_max_age_ms=1000,
            retry_backoff_ms=50,
        )
        await producer.start()
        waiting: set[asyncio.Task[None]] = set()
        number = 0
        while not self.stopping:
            for partition in range(PARTITIONS):
                task = asyncio.ensure_future(self._send(producer, partition, b"aio%d" % number))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
            number += 1
            await asyncio.sleep(0.02)
            if len(waiting) > UNANSWERED:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting:
            await asyncio.wait(waiting, timeout=SECONDS)
        await producer.stop()

    async def _send(self, producer: Any, partition: int, value: bytes) -> None:
        try:
            await producer.send_and_wait("t", value, partition=partition)
            self.acknowledged[partition].append(value)
        except Exception as error:
            self.failed.append(error)


class Reader(threading.Thread):
    """A consumer of a group, which commits after each read. ``seen``: partition and offset of the records."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(daemon=True)
        self.seen: set[tuple[int, int]] = set()
        self.errors: Counter[str] = Counter()
        self.stopping = False
        settings = {"auto.offset.reset": "earliest", "enable.auto.commit": False}
        times = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
        self._settings = {"bootstrap.servers": bootstrap, "group.id": "g", **settings, **times, **CLIENT}

    def run(self) -> None:
        consumer = Consumer(self._settings)
        consumer.subscribe(["t"])
        while not self.stopping:
            messages = consumer.consume(200, 0.2)
            for message in messages:
                if message.error() is None:
                    self.seen.add((message.partition(), message.offset()))
                else:
                    self.errors[str(message.error())] += 1
            if messages:
                try:
                    consumer.commit(asynchronous=False)
                except KafkaException as error:  # the group may have moved to the next coordinator
                    self.errors[str(error)] += 1
        consumer.close()


def disturb(cluster: Cluster, random: random.Random) -> str:
    """Pause, hold up or restart one gateway. Return the name of the act."""
    member = random.choice(cluster.members)
    act = random.choice(["pause", "hold", "restart", "restart"])
    if act == "restart":
        node_id = member.gateway.broker.config.node_id
        cluster.members.remove(member)
        member.stop()
        time.sleep(random.uniform(0, 1.5))
        cluster.add(node_id)
        return act
    holding = act == "hold" and bool(member.leads())
    member.pause(holding)
    time.sleep(random.uniform(0.3, 3.5))
    member.resume()
    return "hold" if holding else "pause"


class Watch:
    """Fails a run in which one of the producers has no acknowledgement for :data:`STUCK` seconds."""

    def __init__(self, writer: Writer, aio: AioWriter) -> None:
        self._counts = {"librdkafka": lambda: writer.acknowledged, "aiokafka": lambda: aio.acknowledged}
        self._last = dict.fromkeys(self._counts, ({}, time.monotonic()))

    def look(self) -> None:
        now = time.monotonic()
        for name, acknowledged in self._counts.items():
            counts = {index: len(values) for index, values in acknowledged().items()}
            before, since = self._last[name]
            if counts != before:
                self._last[name] = counts, now
            assert now - since < STUCK, f"{name} gets no acknowledgement: {counts}"


def run(directory: Path, seconds: float, seed: int, client: dict[str, Any] | None = None) -> str:
    """Run the whole test. Return a line with its counts. ``client``: more settings of librdkafka's producer.

    :raises AssertionError: a record is missing or was stored twice, or a client has stopped.
    """
    source = random.Random(seed)
    acts: Counter[str] = Counter()
    with a_cluster(directory, lease=1.0, session=1.0) as cluster:
        for node_id in NODES:
            cluster.add(node_id)
        create(cluster)
        writer, aio = Writer(cluster.bootstrap, client), AioWriter(cluster.bootstrap)
        readers = [Reader(cluster.bootstrap) for _ in range(2)]
        for thread in (aio, *readers):
            thread.start()
        writer.go_on(20)
        watch = Watch(writer, aio)
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                acts[disturb(cluster, source)] += 1
                watch.look()
                time.sleep(source.uniform(0.2, 1.5))
            writer.go_on(20)
        except BaseException:
            for member in cluster.members:
                print(state_of(member))
            raise
        aio.stopping = True
        aio.join(2 * SECONDS)
        writer.stop()
        total = check(cluster, writer, aio)
        seen = lambda: set().union(*(reader.seen for reader in readers))  # noqa: E731
        until(lambda: len(seen()) >= total, f"the group has not seen all of {total}")
        assert len(seen()) == total
        for reader in readers:
            reader.stopping = True
        for reader in readers:
            reader.join(SECONDS)
    return f"{total} records, {dict(acts)}"


def check(cluster: Cluster, writer: Writer, aio: AioWriter) -> int:
    """Compare the logs with the acknowledgements. Return the number of records."""
    assert aio.failed == []
    wanted = {index: [*writer.acknowledged[index], *aio.acknowledged[index]] for index in range(PARTITIONS)}
    found = consumed(cluster.bootstrap, wanted)
    for index, values in found.items():
        assert [value for value in values if not value.startswith(b"aio")] == writer.acknowledged[index]
        others = [value for value in values if value.startswith(b"aio")]
        assert Counter(others) == Counter(aio.acknowledged[index])
    return sum(map(len, found.values()))


def state_of(member: Member) -> str:
    """The logs of a gateway, for the message of a failed run."""
    broker = member.gateway.broker
    lines = [f"node {broker.config.node_id} at {member.gateway.bootstrap}, held {member.store.held}"]
    for log in broker.catalog.by_name["t"].partitions:
        leader = broker.placement.leader(log.tp)
        producers = [(each, state.epoch, state.last_sequence) for each, state in log.producers]
        lines.append(
            f"  {log.tp.partition}: leader {leader}, ready {log.ready}, high watermark {log.high_watermark}, "
            f"in flight {log.queue.in_flight is not None}, waiting {len(log.queue.waiting)}, {producers}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--debug", help="librdkafka's debug contexts, such as eos,msg,broker")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    print(f"seed {options.seed}", flush=True)
    client = {"debug": options.debug, "log_level": 7} if options.debug else None
    with tempfile.TemporaryDirectory(prefix="kgw-chaos-") as directory:
        print(run(Path(directory), options.seconds, options.seed, client))


if __name__ == "__main__":
    main()
