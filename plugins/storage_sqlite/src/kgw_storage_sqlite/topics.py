"""Topics in their table."""

from __future__ import annotations

import json
import sqlite3
from uuid import UUID

import sqlalchemy as sa

from kgw_core.errors import TopicAlreadyExists, UnknownTopicOrPartition
from kgw_core.spi.storage import Topic, TopicConflict
from kgw_storage_sqlite.database import Database
from kgw_storage_sqlite.logs import Logs
from kgw_storage_sqlite.making import Making
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


def listed(connection: sqlite3.Connection) -> list[Topic]:
    return [
        Topic(name, UUID(bytes=id), partitions, json.loads(configs))
        for id, name, partitions, configs in connection.execute(_ALL)
    ]


async def create(database: Database, logs: Logs, topic: Topic) -> None:
    """:raises TopicAlreadyExists: the name is taken."""

    def check(connection: sqlite3.Connection) -> None:
        if connection.execute(_TAKEN, {"name": topic.name}).fetchone():
            raise TopicAlreadyExists(f"topic {topic.name} exists")

    def enter(connection: sqlite3.Connection) -> None:
        row = {"id": topic.id.bytes, "name": topic.name, "partitions": topic.partitions}
        connection.execute(_NEW, {**row, "configs": json.dumps(dict(topic.configs))})

    await Making(logs, topic, 0, check, enter).run(database)


async def update(database: Database, logs: Logs, topic: Topic, before: Topic) -> None:
    """:raises UnknownTopicOrPartition: it is not there. :raises TopicConflict: it is not as ``before``."""

    def check(connection: sqlite3.Connection) -> None:
        row = connection.execute(_FOUND, {"id": topic.id.bytes}).fetchone()
        if row is None:
            raise UnknownTopicOrPartition(f"no topic with id {topic.id}")
        found = Topic(before.name, topic.id, row[0], json.loads(row[1]))
        if found != before:
            raise TopicConflict(found)

    def enter(connection: sqlite3.Connection) -> None:
        row = {"topic_id": topic.id.bytes, "new_partitions": topic.partitions}
        connection.execute(_UPDATE, {**row, "new_configs": json.dumps(dict(topic.configs))})

    # a shorter retention frees room
    await Making(logs, topic, before.partitions, check, enter, frees=True).run(database)


def delete(connection: sqlite3.Connection, logs: Logs, topic_id: UUID) -> None:
    """Its logs stay where they are until upkeep deletes them; nobody finds them any more."""
    if not connection.execute(_DELETE, {"id": topic_id.bytes}).rowcount:
        raise UnknownTopicOrPartition(f"no topic with id {topic_id}")
    logs.hide(topic_id)
