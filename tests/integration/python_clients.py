"""The three Python clients behind one face, so that a test runs with each, or with one against another.

Calls are synchronous and each makes a client of its own; what the broker refuses is :class:`Refused`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import aiokafka.admin
import aiokafka.errors
import confluent_kafka
import confluent_kafka.admin
import kafka
import kafka.admin
import kafka.codec
import kafka.errors

SECONDS = 20.0
"""How long anything may take; nothing comes near it."""

CREATE_TIME, LOG_APPEND_TIME = 0, 1
Headers = list[tuple[str, bytes | None]]


class Rec(NamedTuple):
    """A record to be produced; time in ms."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int = 0
    timestamp: int | None = None


class Sent(NamedTuple):
    """The place of a record. ``offset`` is -1 if the client does not know it."""

    partition: int
    offset: int


class Got(NamedTuple):
    """A record that was consumed."""

    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Cluster(NamedTuple):
    cluster_id: str | None
    controller: int
    brokers: list[tuple[int, str, int]]


class Refused(Exception):
    """The broker's answer had an error code, or the client gave up with one."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Client:
    """The calls of each client. ``options`` of a call are the client's own settings."""

    name: str

    @classmethod
    def has(cls, codec: str) -> bool:
        """Whether the client has the library for this codec."""
        return True

    @classmethod
    def sends(cls, record: Rec) -> bool:
        """Whether the client lets such a record through."""
        return True

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def produce(
        self,
        topic: str,
        records: Iterable[Rec],
        *,
        codec: str = "none",
        acks: str = "all",
        idempotent: bool = False,
        limit: int = 4 << 20,
    ) -> list[Sent]:
        """Send all, wait for all. ``limit``: the largest record that the client lets through."""
        raise NotImplementedError

    def consume(self, topic: str, starts: Mapping[int, int], count: int, *, small: bool = False) -> list[Got]:
        """``count`` records from these offsets of these partitions. ``small``: in small fetches."""
        raise NotImplementedError

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        raise NotImplementedError

    def offset_for_time(self, topic: str, partition: int, timestamp: int) -> int | None:
        """None where no record is as young."""
        raise NotImplementedError

    def first_waited(self, topic: str, waiting: Any, seconds: float) -> Got:
        """The first record from now on, with long polls of ``seconds``; calls ``waiting()`` once it waits."""
        raise NotImplementedError

    def transactional(self, transactional_id: str) -> None:
        """Begin to use a transactional producer."""
        raise NotImplementedError

    def create(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        raise NotImplementedError

    def delete(self, topic: str) -> None:
        raise NotImplementedError

    def topics(self) -> list[str]:
        raise NotImplementedError

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic, without creating it."""
        raise NotImplementedError

    def configs(self, topic: str) -> dict[str, str | None]:
        raise NotImplementedError

    def broker_configs(self, broker: int) -> dict[str, str | None]:
        raise NotImplementedError

    def cluster(self) -> Cluster:
        raise NotImplementedError


# -- librdkafka


@contextmanager
def _confluent_refusals() -> Iterator[None]:
    try:
        yield
    except confluent_kafka.KafkaException as error:
        raise Refused(error.args[0].code(), error.args[0].str()) from error


class Confluent(Client):
    name = "confluent"

    def _settings(self, **options: Any) -> dict[str, Any]:
        more = {key.replace("_", "."): value for key, value in options.items()}
        return {"bootstrap.servers": self.bootstrap, "socket.timeout.ms": 10_000, **more}

    @contextmanager
    def consumer(self, **options: Any) -> Iterator[confluent_kafka.Consumer]:
        consumer = confluent_kafka.Consumer(
            self._settings(
                **{"group_id": "none", "enable_auto_commit": False, "auto_offset_reset": "error", **options}
            )
        )
        try:
            yield consumer
        finally:
            consumer.close()

    def produce(
        self,
        topic: str,
        records: Iterable[Rec],
        *,
        codec: str = "none",
        acks: str = "all",
        idempotent: bool = False,
        limit: int = 4 << 20,
    ) -> list[Sent]:
        producer = confluent_kafka.Producer(
            self._settings(
                compression_type=codec,
                acks=acks,
                enable_idempotence=idempotent,
                message_max_bytes=limit,
                linger_ms=20,
                message_timeout_ms=10_000,
                queue_buffering_max_messages=200_000,
            )
        )
        sent: list[Sent] = []
        errors: list[Any] = []

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                errors.append(error)
            offset = message.offset()
            sent.append(Sent(message.partition(), -1 if offset is None or offset < 0 else offset))

        with _confluent_refusals():
            for record in records:
                producer.produce(
                    topic,
                    record.value,
                    record.key,
                    record.partition,
                    on_delivery=delivered,
                    timestamp=record.timestamp or 0,
                    headers=list(record.headers),
                )
                producer.poll(0)
            left = producer.flush(SECONDS)
        assert left == 0, f"{left} records were not answered"
        if errors:
            raise Refused(errors[0].code(), errors[0].str())
        return sent

    def consume(self, topic: str, starts: Mapping[int, int], count: int, *, small: bool = False) -> list[Got]:
        options = {"fetch_message_max_bytes": 1_000, "fetch_max_bytes": 2_000} if small else {}
        if small:
            options["message_max_bytes"] = 1_000
        with self.consumer(**options) as consumer, _confluent_refusals():
            consumer.assign([confluent_kafka.TopicPartition(topic, *start) for start in starts.items()])
            got: list[Got] = []
            deadline = time.monotonic() + SECONDS
            while len(got) < count:
                assert time.monotonic() < deadline, f"{len(got)} of {count} records came"
                for message in consumer.consume(min(count - len(got), 10_000), 0.5):
                    if message.error():
                        raise Refused(message.error().code(), message.error().str())
                    got.append(_confluent_got(message))
            return got

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        with self.consumer() as consumer, _confluent_refusals():
            place = confluent_kafka.TopicPartition(topic, partition)
            bounds: tuple[int, int] = consumer.get_watermark_offsets(place, timeout=SECONDS)
            return bounds

    def offset_for_time(self, topic: str, partition: int, timestamp: int) -> int | None:
        with self.consumer() as consumer, _confluent_refusals():
            asked = confluent_kafka.TopicPartition(topic, partition, timestamp)
            (found,) = consumer.offsets_for_times([asked], timeout=SECONDS)
            return found.offset if found.offset >= 0 else None

    def first_waited(self, topic: str, waiting: Any, seconds: float) -> Got:
        with self.consumer(fetch_wait_max_ms=round(seconds * 1000)) as consumer:
            _, end = consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, 0), timeout=SECONDS)
            consumer.assign([confluent_kafka.TopicPartition(topic, 0, end)])
            consumer.poll(0.2)
            waiting()
            message = consumer.poll(SECONDS)
            assert message is not None and message.error() is None
            return _confluent_got(message)

    def transactional(self, transactional_id: str) -> None:
        producer = confluent_kafka.Producer(self._settings(transactional_id=transactional_id))
        with _confluent_refusals():
            producer.init_transactions(SECONDS)

    @cached_property  # its futures fail when it is collected
    def _admin(self) -> confluent_kafka.admin.AdminClient:
        return confluent_kafka.admin.AdminClient(self._settings())

    def create(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        new = confluent_kafka.admin.NewTopic(topic, partitions, 1, config=dict(configs or {}))
        with _confluent_refusals():
            self._admin.create_topics([new])[topic].result(SECONDS)

    def delete(self, topic: str) -> None:
        with _confluent_refusals():
            self._admin.delete_topics([topic])[topic].result(SECONDS)

    def topics(self) -> list[str]:
        return list(self._admin.list_topics(timeout=SECONDS).topics)

    def partitions(self, topic: str) -> list[int]:
        with _confluent_refusals():
            asked = confluent_kafka.TopicCollection([topic])
            described = self._admin.describe_topics(asked)[topic].result(SECONDS)
        return sorted(partition.id for partition in described.partitions)

    def _configs(self, kind: Any, name: str) -> dict[str, str | None]:
        resource = confluent_kafka.admin.ConfigResource(kind, name)
        with _confluent_refusals():
            entries = self._admin.describe_configs([resource])[resource].result(SECONDS)
        return {key: entry.value for key, entry in entries.items()}

    def configs(self, topic: str) -> dict[str, str | None]:
        return self._configs(confluent_kafka.admin.ResourceType.TOPIC, topic)

    def broker_configs(self, broker: int) -> dict[str, str | None]:
        return self._configs(confluent_kafka.admin.ResourceType.BROKER, str(broker))

    def cluster(self) -> Cluster:
        found = self._admin.describe_cluster().result(SECONDS)
        return Cluster(
            found.cluster_id, found.controller.id, [(node.id, node.host, node.port) for node in found.nodes]
        )


def _confluent_got(message: Any) -> Got:
    kind, timestamp = message.timestamp()
    types = {
        confluent_kafka.TIMESTAMP_CREATE_TIME: CREATE_TIME,
        confluent_kafka.TIMESTAMP_LOG_APPEND_TIME: LOG_APPEND_TIME,
    }
    return Got(
        message.partition(),
        message.offset(),
        timestamp,
        types[kind],
        message.key(),
        message.value(),
        message.headers() or [],
    )


# -- kafka-python


@contextmanager
def _python_refusals() -> Iterator[None]:
    try:
        yield
    except kafka.errors.BrokerResponseError as error:
        raise Refused(error.errno, str(error)) from error


def _acks(acks: str) -> int | str:
    return "all" if acks == "all" else int(acks)


class KafkaPython(Client):
    name = "kafka-python"

    @classmethod
    def has(cls, codec: str) -> bool:
        """It needs further packages for all but gzip: python-snappy, lz4, zstandard."""
        return codec == "none" or bool(getattr(kafka.codec, f"has_{codec}")())

    @classmethod
    def sends(cls, record: Rec) -> bool:
        named = all(value is not None for _, value in record.headers)
        return named and (record.key is not None or record.value is not None)

    @contextmanager
    def consumer(self, **options: Any) -> Iterator[kafka.KafkaConsumer]:
        consumer = kafka.KafkaConsumer(
            **{"bootstrap_servers": self.bootstrap, "auto_offset_reset": "none", **options}
        )
        try:
            yield consumer
        finally:
            consumer.close()

    def produce(
        self,
        topic: str,
        records: Iterable[Rec],
        *,
        codec: str = "none",
        acks: str = "all",
        idempotent: bool = False,
        limit: int = 4 << 20,
    ) -> list[Sent]:
        producer = kafka.KafkaProducer(
            bootstrap_servers=self.bootstrap,
            compression_type=None if codec == "none" else codec,
            acks=_acks(acks),
            enable_idempotence=idempotent,
            max_request_size=limit,
            linger_ms=20,
            request_timeout_ms=8_000,
            delivery_timeout_ms=10_000,
        )
        try:
            with _python_refusals():
                futures = [
                    producer.send(
                        topic,
                        value=record.value,
                        key=record.key,
                        headers=list(record.headers),
                        partition=record.partition,
                        timestamp_ms=record.timestamp,
                    )
                    for record in records
                ]
                producer.flush(SECONDS)
                found = [future.get(SECONDS) for future in futures]
        finally:
            producer.close(SECONDS)
        return [Sent(each.partition, each.offset) for each in found]

    def consume(self, topic: str, starts: Mapping[int, int], count: int, *, small: bool = False) -> list[Got]:
        options = {"max_partition_fetch_bytes": 1_000, "fetch_max_bytes": 2_000} if small else {}
        with self.consumer(max_poll_records=10_000, **options) as consumer, _python_refusals():
            consumer.assign([kafka.TopicPartition(topic, partition) for partition in starts])
            for partition, offset in starts.items():
                consumer.seek(kafka.TopicPartition(topic, partition), offset)
            got: list[Got] = []
            deadline = time.monotonic() + SECONDS
            while len(got) < count:
                assert time.monotonic() < deadline, f"{len(got)} of {count} records came"
                for some in consumer.poll(500, max_records=count - len(got)).values():
                    got += [_python_got(record) for record in some]
            return got

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        place = kafka.TopicPartition(topic, partition)
        with self.consumer() as consumer, _python_refusals():
            return consumer.beginning_offsets([place])[place], consumer.end_offsets([place])[place]

    def offset_for_time(self, topic: str, partition: int, timestamp: int) -> int | None:
        place = kafka.TopicPartition(topic, partition)
        with self.consumer() as consumer, _python_refusals():
            found = consumer.offsets_for_times({place: timestamp})[place]
            return None if found is None else found.offset

    def first_waited(self, topic: str, waiting: Any, seconds: float) -> Got:
        place = kafka.TopicPartition(topic, 0)
        with self.consumer(
            fetch_max_wait_ms=round(seconds * 1000),
            request_timeout_ms=round((seconds + SECONDS) * 1000),
            auto_offset_reset="latest",
        ) as consumer:
            consumer.assign([place])
            consumer.seek_to_end(place)
            consumer.position(place)
            consumer.poll(200)
            waiting()
            (records,) = consumer.poll(SECONDS * 1000).values()
            return _python_got(records[0])

    def transactional(self, transactional_id: str) -> None:
        producer = kafka.KafkaProducer(
            bootstrap_servers=self.bootstrap, transactional_id=transactional_id, max_block_ms=10_000
        )
        try:
            with _python_refusals():
                producer.init_transactions()
        finally:
            producer.close(SECONDS)

    @contextmanager
    def _admin(self) -> Iterator[kafka.admin.KafkaAdminClient]:
        admin = kafka.admin.KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            with _python_refusals():
                yield admin
        finally:
            admin.close()

    def create(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        with self._admin() as admin:
            admin.create_topics(
                {
                    topic: {
                        "num_partitions": partitions,
                        "replication_factor": 1,
                        "configs": dict(configs or {}),
                    }
                }
            )

    def delete(self, topic: str) -> None:
        with self._admin() as admin:
            admin.delete_topics([topic])

    def topics(self) -> list[str]:
        with self._admin() as admin:
            return list(admin.list_topics())

    def partitions(self, topic: str) -> list[int]:
        with self._admin() as admin:
            (described,) = admin.describe_topics([topic])
        if described["error_code"]:
            raise Refused(described["error_code"], "describe_topics")
        return sorted(partition["partition_index"] for partition in described["partitions"])

    def _configs(self, kind: str, name: str) -> dict[str, str | None]:
        resource = kafka.admin.ConfigResource(kind, name)
        with self._admin() as admin:
            found = admin.describe_configs([resource], config_filter="all")
        return {key: entry["value"] for key, entry in found[kind.lower()][name].items()}

    def configs(self, topic: str) -> dict[str, str | None]:
        return self._configs("TOPIC", topic)

    def broker_configs(self, broker: int) -> dict[str, str | None]:
        return self._configs("BROKER", str(broker))

    def cluster(self) -> Cluster:
        with self._admin() as admin:
            found = admin.describe_cluster()
        brokers = [
            (node.get("broker_id", node.get("node_id")), node["host"], node["port"])
            for node in found["brokers"]
        ]
        return Cluster(found["cluster_id"], found["controller_id"], brokers)


def _python_got(record: Any) -> Got:
    return Got(
        record.partition,
        record.offset,
        record.timestamp,
        record.timestamp_type,
        record.key,
        record.value,
        list(record.headers),
    )


# -- aiokafka


@contextmanager
def _aio_refusals() -> Iterator[None]:
    try:
        yield
    except aiokafka.errors.KafkaError as error:
        if isinstance(getattr(error, "errno", None), int):
            raise Refused(error.errno, str(error)) from error
        raise


class AIOKafka(Client):
    name = "aiokafka"

    @classmethod
    def sends(cls, record: Rec) -> bool:
        return record.key is not None or record.value is not None

    def produce(self, topic: str, records: Iterable[Rec], **options: Any) -> list[Sent]:
        return asyncio.run(self.produce_async(topic, records, **options))

    async def produce_async(
        self,
        topic: str,
        records: Iterable[Rec],
        *,
        codec: str = "none",
        acks: str = "all",
        idempotent: bool = False,
        limit: int = 4 << 20,
    ) -> list[Sent]:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            compression_type=None if codec == "none" else codec,
            acks=_acks(acks),
            enable_idempotence=idempotent,
            max_request_size=limit,
            linger_ms=20,
            request_timeout_ms=10_000,
        )
        with _aio_refusals():
            async with producer, asyncio.timeout(SECONDS):
                futures = [
                    await producer.send(
                        topic,
                        value=record.value,
                        key=record.key,
                        headers=list(record.headers),
                        partition=record.partition,
                        timestamp_ms=record.timestamp,
                    )
                    for record in records
                ]
                found = await asyncio.gather(*futures)
        return [Sent(-1, -1) if each is None else Sent(each.partition, each.offset) for each in found]

    def consume(self, topic: str, starts: Mapping[int, int], count: int, *, small: bool = False) -> list[Got]:
        options = {"max_partition_fetch_bytes": 1_000, "fetch_max_bytes": 2_000} if small else {}

        async def run() -> list[Got]:
            consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=self.bootstrap, auto_offset_reset="none", **options
            )
            with _aio_refusals():
                async with consumer, asyncio.timeout(SECONDS):
                    consumer.assign([aiokafka.TopicPartition(topic, partition) for partition in starts])
                    for partition, offset in starts.items():
                        consumer.seek(aiokafka.TopicPartition(topic, partition), offset)
                    got: list[Got] = []
                    while len(got) < count:
                        some = await consumer.getmany(timeout_ms=500, max_records=count - len(got))
                        for records in some.values():
                            got += [_aio_got(record) for record in records]
                    return got

        return asyncio.run(run())

    def _ask_consumer(self, ask: Any) -> Any:
        async def run() -> Any:
            consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
            with _aio_refusals():
                async with consumer, asyncio.timeout(SECONDS):
                    return await ask(consumer)

        return asyncio.run(run())

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        place = aiokafka.TopicPartition(topic, partition)

        async def ask(consumer: aiokafka.AIOKafkaConsumer) -> tuple[int, int]:
            start = await consumer.beginning_offsets([place])
            end = await consumer.end_offsets([place])
            return start[place], end[place]

        return self._ask_consumer(ask)

    def offset_for_time(self, topic: str, partition: int, timestamp: int) -> int | None:
        place = aiokafka.TopicPartition(topic, partition)

        async def ask(consumer: aiokafka.AIOKafkaConsumer) -> int | None:
            found = (await consumer.offsets_for_times({place: timestamp}))[place]
            return None if found is None else found.offset

        return self._ask_consumer(ask)

    def first_waited(self, topic: str, waiting: Any, seconds: float) -> Got:
        place = aiokafka.TopicPartition(topic, 0)

        async def run() -> Got:
            consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=self.bootstrap,
                fetch_max_wait_ms=round(seconds * 1000),
                request_timeout_ms=round((seconds + SECONDS) * 1000),
            )
            async with consumer, asyncio.timeout(SECONDS):
                consumer.assign([place])
                await consumer.seek_to_end(place)
                await consumer.getmany(timeout_ms=200)
                await asyncio.to_thread(waiting)
                return _aio_got(await consumer.getone())

        return asyncio.run(run())

    def transactional(self, transactional_id: str) -> None:
        async def run() -> None:
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=self.bootstrap, transactional_id=transactional_id
            )
            try:
                with _aio_refusals():
                    async with asyncio.timeout(SECONDS):
                        await producer.start()
            finally:
                await producer.stop()

        asyncio.run(run())

    def _ask_admin(self, ask: Any) -> Any:
        async def run() -> Any:
            admin = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
            with _aio_refusals():
                async with asyncio.timeout(SECONDS):
                    await admin.start()
                    try:
                        return await ask(admin)
                    finally:
                        await admin.close()

        return asyncio.run(run())

    def create(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        new = aiokafka.admin.NewTopic(topic, partitions, 1, topic_configs=dict(configs or {}))
        _check_codes(self._ask_admin(lambda admin: admin.create_topics([new])).topic_errors)

    def delete(self, topic: str) -> None:
        _check_codes(self._ask_admin(lambda admin: admin.delete_topics([topic])).topic_error_codes)

    def topics(self) -> list[str]:
        return self._ask_admin(lambda admin: admin.list_topics())

    def partitions(self, topic: str) -> list[int]:
        (described,) = self._ask_admin(lambda admin: admin.describe_topics([topic]))
        if described["error_code"]:
            raise Refused(described["error_code"], "describe_topics")
        return sorted(partition["partition"] for partition in described["partitions"])

    def _configs(self, kind: Any, name: str) -> dict[str, str | None]:
        resource = aiokafka.admin.config_resource.ConfigResource(kind, name)
        (answer,) = self._ask_admin(lambda admin: admin.describe_configs([resource]))
        ((code, message, _, _, entries),) = answer.resources
        if code:
            raise Refused(code, message)
        return {entry[0]: entry[1] for entry in entries}

    def configs(self, topic: str) -> dict[str, str | None]:
        return self._configs(aiokafka.admin.config_resource.ConfigResourceType.TOPIC, topic)

    def broker_configs(self, broker: int) -> dict[str, str | None]:
        return self._configs(aiokafka.admin.config_resource.ConfigResourceType.BROKER, str(broker))

    def cluster(self) -> Cluster:
        found = self._ask_admin(lambda admin: admin.describe_cluster())
        brokers = [(node["node_id"], node["host"], node["port"]) for node in found["brokers"]]
        return Cluster(found.get("cluster_id"), found["controller_id"], brokers)


def _check_codes(errors: Sequence[Sequence[Any]]) -> None:
    for topic, code, *more in errors:
        if code:
            raise Refused(code, f"{topic} {more}")


def _aio_got(record: Any) -> Got:
    return Got(
        record.partition,
        record.offset,
        record.timestamp,
        record.timestamp_type,
        record.key,
        record.value,
        list(record.headers),
    )


CLIENTS: tuple[type[Client], ...] = (Confluent, AIOKafka, KafkaPython)
