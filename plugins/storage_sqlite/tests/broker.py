"""A gateway on a database, and confluent-kafka's clients of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from kgw_core.testing.gateway import GatewayProcess, gateway_process

SECONDS = 20.0
"""How long anything may take; nothing comes near it."""

CONFIG = """\
[storage]
use = "sqlite"
path = "{path}"
"""
ENV = {"KGW_LISTENERS__0__PORT": "0", "KGW_GROUPS__INITIAL_REBALANCE_DELAY": "0"}


def serve(
    directory: Path,
    *,
    database: Path | None = None,
    env: Mapping[str, str] | None = None,
    check_log: bool = True,
) -> AbstractContextManager[GatewayProcess]:
    """`kgw serve` with three lines of config; the database is ``directory/kgw.db`` or ``database``."""
    config = CONFIG.format(path=database or directory / "kgw.db")
    return gateway_process(directory, config=config, env={**ENV, **(env or {})}, check_log=check_log)


def admin(gateway: GatewayProcess) -> AdminClient:
    return AdminClient({"bootstrap.servers": gateway.bootstrap})


def create_topic(gateway: GatewayProcess, name: str, partitions: int = 1, **configs: str) -> None:
    topic = NewTopic(name, partitions, 1, config={key.replace("_", "."): to for key, to in configs.items()})
    client = admin(gateway)  # kept: it must outlive its futures
    client.create_topics([topic])[name].result(SECONDS)


@contextmanager
def consumer(gateway: GatewayProcess, group: str, **options: Any) -> Iterator[Consumer]:
    made = Consumer(
        {
            "bootstrap.servers": gateway.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            **options,
        }
    )
    try:
        yield made
    finally:
        made.close()


def take(source: Consumer, count: int) -> list[Message]:
    """The next ``count`` messages. :raises AssertionError: they do not come."""
    messages: list[Message] = []
    while len(messages) < count:
        some = source.consume(count - len(messages), timeout=SECONDS)
        assert some, f"{len(messages)} of {count} messages came"
        for message in some:
            if message.error():
                raise KafkaException(message.error())
        messages += some
    return messages


def produce(gateway: GatewayProcess, topic: str, values: list[bytes], **options: Any) -> list[int]:
    """Produce to partition 0; the offsets that were acknowledged, in order."""
    producer = Producer({"bootstrap.servers": gateway.bootstrap, "message.timeout.ms": 15_000, **options})
    offsets: list[int] = []

    def delivered(error: Any, message: Message) -> None:
        if error is not None:
            raise KafkaException(error)
        offsets.append(message.offset())

    for value in values:
        producer.produce(topic, value, key=b"k", partition=0, headers=[("h", b"1")], on_delivery=delivered)
    assert producer.flush(SECONDS) == 0
    return offsets
