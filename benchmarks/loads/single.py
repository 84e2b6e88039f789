"""Small and many: one record a request, one at a time or from many producers; a record's whole way."""

from __future__ import annotations

import threading
import time
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.loads.window import Window, percentile

PRODUCER = {
    "linger.ms": 0,
    "batch.num.messages": 1,
    "acks": "all",
    "max.in.flight.requests.per.connection": 5,
    "socket.nagle.disable": True,
}


def one_at_a_time(spec: dict[str, Any], window: Window) -> dict[str, float]:
    """For ``seconds``: send a record of ``size`` bytes, wait until it is acknowledged, send the next."""
    producer = Producer(PRODUCER | {"bootstrap.servers": spec["bootstrap"]})
    topic, value = spec["topic"], b"x" * spec["size"]
    waits: list[int] = []
    clock = time.perf_counter_ns
    acknowledged = False

    def delivered(error: object, _: object) -> None:
        nonlocal acknowledged
        if error is not None:
            raise RuntimeError(str(error))
        acknowledged = True

    def send(seconds: float) -> None:
        nonlocal acknowledged
        end = clock() + int(seconds * 1e9)
        while (begin := clock()) < end:
            acknowledged = False
            producer.produce(topic, value, partition=0, on_delivery=delivered)
            while not acknowledged:
                producer.poll(1.0)
            waits.append(clock() - begin)

    producer.list_topics(topic, timeout=30)
    send(spec["warm_up"])
    waits.clear()
    with window:
        send(spec["seconds"])
    waits.sort()
    return {"requests": len(waits), "p50_us": percentile(waits, 0.5), "p99_us": percentile(waits, 0.99)}


def many_producers(spec: dict[str, Any], window: Window) -> dict[str, float]:
    """``producers`` producers, each with five requests of one record in flight, for ``seconds``."""
    settings = PRODUCER | {"bootstrap.servers": spec["bootstrap"], "delivery.report.only.error": True}
    producers = [Producer(settings) for _ in range(spec["producers"])]
    topic, partitions = spec["topic"], spec["partitions"]
    chunk = 50
    messages = [{"value": b"x" * spec["size"]} for _ in range(chunk)]
    for producer in producers:
        producer.list_topics(topic, timeout=30)

    def send(seconds: float) -> int:
        end = time.perf_counter() + seconds
        sent = 0
        while time.perf_counter() < end:
            idle = True
            for turn, producer in enumerate(producers):
                producer.poll(0)  # takes what is acknowledged off its length
                if len(producer) <= chunk:
                    sent += producer.produce_batch(topic, messages, partition=turn % partitions)
                    idle = False
            if idle:
                time.sleep(0.0005)
        for producer in producers:
            if producer.flush(60):
                raise RuntimeError("not everything was delivered")
        return sent

    send(spec["warm_up"])
    with window:
        requests = send(spec["seconds"])
    return {"requests": requests}


def end_to_end(spec: dict[str, Any], window: Window) -> dict[str, float]:
    """``rate`` records a second for ``seconds``: from just before a record is produced until it came."""
    producer = Producer(
        PRODUCER | {"bootstrap.servers": spec["bootstrap"], "delivery.report.only.error": True}
    )
    consumer = Consumer(
        {
            "bootstrap.servers": spec["bootstrap"],
            "group.id": "bench-end-to-end",
            "enable.auto.commit": False,
            "fetch.min.bytes": 1,
            "fetch.wait.max.ms": 500,
            "fetch.queue.backoff.ms": 1,
            "socket.nagle.disable": True,
        }
    )
    topic, size, rate = spec["topic"], spec["size"], spec["rate"]
    producer.list_topics(topic, timeout=30)
    _, end_offset = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
    consumer.assign([TopicPartition(topic, 0, end_offset)])
    waits: list[int] = []
    clock = time.perf_counter_ns
    wanted = 0
    stop = threading.Event()

    def receive() -> None:
        while not stop.is_set():
            message = consumer.poll(0.2)
            if message is not None and not message.error():
                waits.append(clock() - int.from_bytes(message.value()[:8], "big"))

    def send(seconds: float) -> None:
        nonlocal wanted
        begin = time.perf_counter()
        for number in range(int(seconds * rate)):
            pause = begin + number / rate - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            producer.produce(topic, clock().to_bytes(8, "big").ljust(size, b"x"), partition=0)
            wanted += 1
        deadline = time.perf_counter() + 20
        while len(waits) < wanted:
            producer.poll(0.01)
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{wanted - len(waits)} records did not come")

    receiver = threading.Thread(target=receive)
    receiver.start()
    try:
        send(spec["warm_up"])
        waits.clear()
        wanted = 0
        with window:
            send(spec["seconds"])
    finally:
        stop.set()
        receiver.join()
    ordered = sorted(waits)
    return {"requests": wanted, "p50_us": percentile(ordered, 0.5), "p99_us": percentile(ordered, 0.99)}
