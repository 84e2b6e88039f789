"""Bulk: as much as one producer can send, as much as one consumer can take, or several groups at once."""

from __future__ import annotations

import threading
import time
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from benchmarks.loads.window import Window

OUTSTANDING = 64 << 20
"""Bytes that wait in the producer; enough for every connection to be busy."""

PRODUCER = {
    "linger.ms": 5,
    "acks": "all",
    "compression.type": "none",
    "queue.buffering.max.messages": 0,
    "queue.buffering.max.kbytes": 1 << 20,
    "delivery.report.only.error": True,
    "socket.nagle.disable": True,
}

CONSUMER = {
    # With the defaults, the consumer stops fetching when 64 MB or 100,000 records wait, and looks again only
    # after fetch.queue.backoff.ms: that would measure the client.
    "queued.min.messages": 10_000_000,
    "queued.max.messages.kbytes": 2_097_151,
    "fetch.queue.backoff.ms": 1,
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "socket.nagle.disable": True,
}
AT_ONCE, BYTES_AT_ONCE = 10_000, 8 << 20
"""What one call takes from a consumer. It returns with as many records as it asked for, or at the end of its
time: asking for more than there are would measure that time."""


def at_once(size: float) -> int:
    """How many records of ``size`` bytes to ask for."""
    return max(1, min(AT_ONCE, int(BYTES_AT_ONCE / size)))


def produce(spec: dict[str, Any], window: Window) -> dict[str, float]:
    """``megabytes`` of records of ``size`` bytes, after ``warm_up`` megabytes."""
    producer = Producer(PRODUCER | {"bootstrap.servers": spec["bootstrap"]})
    size, partitions = spec["size"], spec["partitions"]
    chunk = max(1, min(1000, (1 << 20) // size))
    messages = [{"value": b"x" * size} for _ in range(chunk)]

    def send(count: int) -> None:
        for turn in range(count // chunk):
            while len(producer) * size > OUTSTANDING:
                producer.poll(0.001)
            queued = producer.produce_batch(spec["topic"], messages, partition=turn % partitions)
            if queued != chunk:
                raise RuntimeError(f"{chunk - queued} records were not queued: {messages[-1].get('_error')}")
        if producer.flush(120):
            raise RuntimeError("not everything was delivered")

    def records(megabytes: float) -> int:
        return max(1, round(megabytes * 1e6 / size / chunk)) * chunk

    producer.list_topics(spec["topic"], timeout=30)
    warm_up, count = records(spec["warm_up"]), records(spec["megabytes"])
    send(warm_up)
    with window:
        send(count)
    return {"records": count, "bytes": count * size, "stored": warm_up + count}


def consume(spec: dict[str, Any], window: Window) -> dict[str, float]:
    """``records`` records from the topic's partitions, ``passes`` times from the start, after one warm-up."""
    consumer = Consumer(CONSUMER | {"bootstrap.servers": spec["bootstrap"], "group.id": "bench-bulk"})
    consumer.list_topics(spec["topic"], timeout=30)
    start = [TopicPartition(spec["topic"], partition, 0) for partition in range(spec["partitions"])]
    records, most = spec["records"], at_once(spec["size"])

    def one_pass(wanted: int) -> int:
        consumer.assign(start)
        got = size = 0
        deadline = time.monotonic() + 120
        while got < wanted:
            messages = consumer.consume(min(most, wanted - got), 1.0)
            got += len(messages)
            size += sum(map(len, messages))
            if messages and messages[-1].error():
                raise KafkaException(messages[-1].error())
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {got} of {wanted} records came")
        return size

    one_pass(max(1, records // 4))
    total = 0
    with window:
        for _ in range(spec["passes"]):
            total += one_pass(records)
    consumer.close()
    return {"records": records * spec["passes"], "bytes": total}


def groups(spec: dict[str, Any], window: Window) -> dict[str, float]:
    """``groups`` consumer groups of ``members`` each read the topic at once; joining is not measured."""
    partitions, total_groups, members = spec["partitions"], spec["groups"], spec["members"]
    most = at_once(spec["size"])
    ready = threading.Barrier(total_groups * members + 1, timeout=60)
    go = threading.Event()
    lock = threading.Lock()
    got = dict.fromkeys(range(total_groups), 0)
    taken = [0]
    failures: list[BaseException] = []

    def member(group: int) -> None:
        settings = {"bootstrap.servers": spec["bootstrap"], "group.id": f"{spec['topic']}-{group}"}
        consumer = Consumer(CONSUMER | settings | {"partition.assignment.strategy": "range"})
        share: list[TopicPartition] = []

        def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            share[:] = [TopicPartition(part.topic, part.partition, 0) for part in partitions]
            consumer.assign(share)
            consumer.pause(share)

        try:
            consumer.subscribe([spec["topic"]], on_assign=assigned)
            deadline = time.monotonic() + 30
            while len(share) != partitions // members:
                consumer.poll(0.05)
                if time.monotonic() > deadline:
                    raise RuntimeError("the group does not settle")
            ready.wait()
            while not go.is_set():
                consumer.poll(0.01)
            consumer.resume(share)
            while got[group] < spec["records"] and not failures:
                messages = consumer.consume(most, 0.01)  # the other members may have the rest
                with lock:
                    got[group] += len(messages)
                    taken[0] += sum(map(len, messages))
            consumer.close()
        except BaseException as error:
            failures.append(error)
            ready.abort()

    threads = [
        threading.Thread(target=member, args=(group,))
        for group in range(total_groups)
        for _ in range(members)
    ]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
    except threading.BrokenBarrierError:
        raise (failures or [RuntimeError("the groups do not settle")])[0] from None
    with window:
        go.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return {"records": sum(got.values()), "bytes": taken[0]}
