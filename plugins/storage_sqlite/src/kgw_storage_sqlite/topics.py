"""Topics in their table."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from kgw_core.errors import TopicAlreadyExists, UnknownTopicOrPartition
from kgw_core.spi.storage import Topic, TopicConflict, TopicPartition
from kgw_storage_sqlite.database import transaction
from kgw_storage_sqlite.log import Log
from kgw_storage_sqlite.logs import Logs
from kgw_storage_sqlite.schema import logs as logs_table
from kgw_storage_sqlite.schema import sql, topics

_ALL = sql(sa.select(topics).order_by(topics.c.name))
_TAKEN = sql(sa.select(topics.c.id).where(topics.c.name == sa.bindparam("name")))
_FOUND = sql(sa.select(topics.c.partitions, topics.c.configs).where(topics.c.id == sa.bindparam("id")))
_NEW = sql(sa.insert(topics))
_UPDATE = sql(
    sa.update(topics)
    .where(topics.c.id == sa.bindparam("topic_id"))
    .values(partitions=sa.bindparam("new_partitions"), configs=sa.bindparam("new_configs"))
)
_DELETE = sql(sa.delete(topics).where(topics.c.id == sa.bindparam("id")))
_ORPHAN = sql(
    sa.update(logs_table).where(logs_table.c.topic_id == sa.bindparam("deleted")).values(topic_id=sa.null())
)


def listed(connection: sqlite3.Connection) -> list[Topic]:
    return [
        Topic(name, UUID(bytes=id), partitions, json.loads(configs))
        for id, name, partitions, configs in connection.execute(_ALL)
    ]


def create(connection: sqlite3.Connection, logs: Logs, topic: Topic) -> None:
    """:raises TopicAlreadyExists: the name is taken."""

    def work(connection: sqlite3.Connection) -> list[Log]:
        if connection.execute(_TAKEN, {"name": topic.name}).fetchone():
            raise TopicAlreadyExists(f"topic {topic.name} exists")
        row = {"id": topic.id.bytes, "name": topic.name, "partitions": topic.partitions}
        connection.execute(_NEW, {**row, "configs": json.dumps(dict(topic.configs))})
        return logs.make(connection, _partitions(topic, 0))

    logs.add(transaction(connection, work))


def update(connection: sqlite3.Connection, logs: Logs, topic: Topic, before: Topic) -> None:
    """:raises UnknownTopicOrPartition: it is not there. :raises TopicConflict: it is not as ``before``."""

    def work(connection: sqlite3.Connection) -> list[Log]:
        row = connection.execute(_FOUND, {"id": topic.id.bytes}).fetchone()
        if row is None:
            raise UnknownTopicOrPartition(f"no topic with id {topic.id}")
        found = Topic(before.name, topic.id, row[0], json.loads(row[1]))
        if found != before:
            raise TopicConflict(found)
        connection.execute(
            _UPDATE,
            {
                "topic_id": topic.id.bytes,
                "new_partitions": topic.partitions,
                "new_configs": json.dumps(dict(topic.configs)),
            },
        )
        return logs.make(connection, _partitions(topic, row[0]))

    logs.add(transaction(connection, work))


def delete(connection: sqlite3.Connection, logs: Logs, topic_id: UUID) -> None:
    """The records stay where they are until upkeep deletes them; nobody finds them any more."""

    def work(connection: sqlite3.Connection) -> None:
        if not connection.execute(_DELETE, {"id": topic_id.bytes}).rowcount:
            raise UnknownTopicOrPartition(f"no topic with id {topic_id}")
        connection.execute(_ORPHAN, {"deleted": topic_id.bytes})

    transaction(connection, work)
    logs.forget(topic_id)


def _partitions(topic: Topic, first: int) -> Sequence[TopicPartition]:
    return [TopicPartition(topic.name, topic.id, partition) for partition in range(first, topic.partitions)]
