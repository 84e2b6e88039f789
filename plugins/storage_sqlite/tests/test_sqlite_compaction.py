"""A compacted topic on SQLite, read as Streams and Connect read their changelogs and configs."""

from __future__ import annotations

import time
from pathlib import Path

from broker import SECONDS, consumer, create_topic, serve
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from kgw_core.testing.gateway import GatewayProcess

ENV = {"KGW_TOPICS__COMPACTION_CHECK_INTERVAL": "100ms"}
KEYS = 50


def produce(gateway: GatewayProcess, first: int, last: int) -> None:
    producer = Producer({"bootstrap.servers": gateway.bootstrap, "enable.idempotence": True, "linger.ms": 2})
    for number in range(first, last):
        key = b"key-%d" % (number % KEYS)
        value = None if number % KEYS == 7 else b"%d" % number
        producer.produce("changelog", value, key=key, partition=0, headers=[("number", b"%d" % number)])
        if number % 20 == 0:
            producer.flush(SECONDS)
    assert producer.flush(SECONDS) == 0


def read(reader: Consumer, end: int) -> list[Message]:
    """From the beginning up to ``end``, which is reached whatever is missing before it."""
    reader.assign([TopicPartition("changelog", 0, OFFSET_BEGINNING)])
    found: list[Message] = []
    deadline = time.monotonic() + SECONDS
    while reader.position([TopicPartition("changelog", 0)])[0].offset < end:
        message = reader.poll(0.5)
        if message is not None:
            assert message.error() is None
            found.append(message)
        assert time.monotonic() < deadline, f"{len(found)} messages, the end was not reached"
    return found


def test_a_changelog_shrinks_to_its_last_values_and_stays_so(tmp_path: Path) -> None:
    """The state that a reader restores is the same before and after, and after a restart."""
    with serve(tmp_path, env=ENV) as gateway:
        create_topic(gateway, "changelog", cleanup_policy="compact", min_cleanable_dirty_ratio="0.01")
        produce(gateway, 0, 3_000)
        with consumer(gateway, "restore") as reader:
            deadline = time.monotonic() + SECONDS
            while len(found := read(reader, 3_000)) > 2 * KEYS:
                assert time.monotonic() < deadline, f"{len(found)} of 3000 records are left"
                time.sleep(0.1)
        expected = {b"key-%d" % (n % KEYS): b"%d" % n for n in range(2_950, 3_000) if n % KEYS != 7}
        assert state(found) == expected
    with serve(tmp_path, env=ENV) as gateway:
        with consumer(gateway, "restore") as reader:
            again = read(reader, 3_000)
            assert len(again) <= len(found)
            assert state(again) == expected
            for message in again:
                assert message.headers() == [("number", b"%d" % message.offset())]
            low, high = reader.get_watermark_offsets(TopicPartition("changelog", 0), timeout=SECONDS)
            assert (low, high) == (0, 3_000)
        produce(gateway, 3_000, 3_100)
        with consumer(gateway, "restore") as reader:
            assert state(read(reader, 3_100)).keys() == expected.keys()


def state(messages: list[Message]) -> dict[bytes, bytes]:
    """The last value of each key, as a reader finds it."""
    table: dict[bytes, bytes] = {}
    for message in messages:
        if message.value() is None:
            table.pop(message.key(), None)
        else:
            table[message.key()] = message.value()
    return table
