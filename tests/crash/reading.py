"""Reads the logs, and compares them with the promises."""

from __future__ import annotations

import time
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.crash.clients import CLIENT
from tests.crash.history import Compacted, History, Trimmed
from tests.crash.records import Entry, Wrong

SECONDS: Final = 90.0
"""How long reading a topic may take, with a store that fails."""
READ_ON: Final = 5
"""How often a compacted log is read on, while its producer works: what is missing may have been replaced by
what has come since."""


def compare(bootstrap: str, history: History) -> None:
    """:raises Wrong: something is in the topic that must not be, or is missing."""
    known = history.known()
    trimmed = dict(history.trimmed) if isinstance(history, Trimmed) else {}
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "checkers",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "check.crcs": True,
            **CLIENT,
        }
    )
    admin = AdminClient({"bootstrap.servers": bootstrap, **CLIENT})
    try:
        for partition in history.partitions:
            _partition(consumer, admin, history, partition, known, trimmed.get(partition, 0))
    finally:
        consumer.close()


def _partition(
    consumer: Consumer,
    admin: AdminClient,
    history: History,
    partition: int,
    known: dict[int, dict[int, Entry]],
    trimmed: int,
) -> None:
    deadline = time.monotonic() + SECONDS
    place = TopicPartition(history.topic, partition)
    while True:
        start, end = _bounds(admin, place, deadline)
        if start < trimmed:
            raise Wrong(f"{place}: up to {trimmed} was deleted, and it begins at {start}")
        consumer.assign([TopicPartition(place.topic, partition, history.begin(partition, start))])
        try:
            end = _read_to(end, consumer, history, deadline)
            for _ in range(READ_ON):
                if not isinstance(history, Compacted) or not history.missing(partition, known[partition]):
                    break
                _, end = _bounds(admin, place, deadline)
                end = _read_to(end, consumer, history, deadline)
        except OutOfRange:
            if not isinstance(history, Trimmed):
                raise Wrong(f"{place}: records are gone") from None
            continue  # records were deleted meanwhile
        finally:
            consumer.unassign()
        history.read(partition, start, end, known[partition])
        return


class OutOfRange(Exception):
    """What was to be read has gone."""


def _bounds(admin: AdminClient, place: TopicPartition, deadline: float) -> tuple[int, int]:
    """Where it begins and ends. Not by ``get_watermark_offsets``, which takes the end for the beginning where
    the request for that had to be sent again."""
    found: list[int] = []
    for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):
        while True:
            try:
                [told] = admin.list_offsets({place: spec}, request_timeout=5.0).values()
                found.append(told.result(10.0).offset)
                break
            except (KafkaException, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise Wrong(f"{place}: its bounds cannot be had: {error}") from error
                time.sleep(0.02)
    return found[0], found[1]


def _read_to(end: int, consumer: Consumer, history: History, deadline: float) -> int:
    """Read to ``end``, or up to a record that lies behind it; where reading has stopped."""
    position = 0
    while position < end and time.monotonic() < deadline:
        for message in consumer.consume(100, timeout=0.2):
            error, offset = message.error(), message.offset()
            if error is None:
                assert offset is not None
                history.found(message)
                position = offset + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                assert offset is not None
                position = offset
            elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                raise OutOfRange
            elif not error.retriable() and error.code() not in RETRIED:
                raise Wrong(f"reading {history.topic}: {error}")
    if position < end:
        raise Wrong(f"reading {history.topic} came to {position}, not to {end}")
    return position


RETRIED: Final = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}
"""Errors after which the client goes on by itself."""
