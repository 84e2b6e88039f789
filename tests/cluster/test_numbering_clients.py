"""Real clients on a store that numbers records itself, while others write into it."""

from __future__ import annotations

import random
import threading

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from numbering_store import NumberingStore

from kgw_core.testing.gateway import GatewayThread, free_config, gateway_thread

RECORDS, GUESTS, LAST = 300, 100, 10
SECONDS = 30.0


def consumed(gateway: GatewayThread, count: int) -> list[tuple[int, bytes]]:
    """Offset and value of the first ``count`` records of t-0, as a consumer sees them."""
    consumer = Consumer({"bootstrap.servers": gateway.bootstrap, "group.id": "g", "fetch.wait.max.ms": 50})
    consumer.assign([TopicPartition("t", 0, 0)])
    found: list[tuple[int, bytes]] = []
    try:
        while len(found) < count:
            messages = consumer.consume(count, SECONDS)
            assert messages, f"nothing more after {len(found)} records"
            for message in messages:
                assert message.error() is None
                found.append((message.offset(), message.value()))
        low, high = consumer.get_watermark_offsets(TopicPartition("t", 0), SECONDS, cached=False)
        assert (low, high) == (0, count)
    finally:
        consumer.close()
    return found


def test_producers_are_told_the_true_offsets_and_consumers_see_what_others_write() -> None:
    """An idempotent producer with several requests in flight, a plain one, and somebody else beside them."""
    store, chance = NumberingStore(), random.Random(11)
    delivered: dict[bytes, int] = {}
    failed: list[str] = []

    def told(error: object, message: Message) -> None:
        if error is None:
            delivered[message.value()] = message.offset()
        else:
            failed.append(str(error))

    with gateway_thread(free_config("t:1"), store=store) as gateway:
        tp = gateway.gateway.broker.catalog.by_name["t"].partitions[0].tp
        found: list[tuple[int, bytes]] = []
        reader = threading.Thread(
            target=lambda: found.extend(consumed(gateway, 2 * RECORDS + GUESTS + LAST)), daemon=True
        )
        reader.start()
        producers = [
            Producer(
                {
                    "bootstrap.servers": gateway.bootstrap,
                    "enable.idempotence": idempotent,
                    "linger.ms": 1,
                    "batch.num.messages": 3,
                }
            )
            for idempotent in (True, False)
        ]
        guests = 0
        for number in range(RECORDS):
            for index, producer in enumerate(producers):
                producer.produce("t", b"%d/%d" % (index, number), partition=0, on_delivery=told)
                producer.poll(0)
            if guests < GUESTS and chance.random() < 0.5:
                if chance.random() < 0.5:
                    gateway.call(store.others_write, tp, b"guest %d" % guests)
                else:
                    gateway.call(store.guests.append, b"guest %d" % guests)
                guests += 1
        for producer in producers:
            assert producer.flush(SECONDS) == 0
        left = GUESTS + LAST - guests + len(store.guests)
        store.guests.clear()
        gateway.call(store.others_write, tp, *[b"last %d" % number for number in range(left)])
        reader.join(SECONDS)
        assert not reader.is_alive()
    assert failed == []
    assert [offset for offset, _ in found] == list(range(2 * RECORDS + GUESTS + LAST))
    assert {value: offset for offset, value in found if value in delivered} == delivered
    assert len(delivered) == 2 * RECORDS
    assert sum(value.startswith((b"guest", b"last")) for _, value in found) == GUESTS + LAST
    for index in range(2):
        mine = [value for _, value in found if value.startswith(b"%d/" % index)]
        assert mine == [b"%d/%d" % (index, number) for number in range(RECORDS)]
