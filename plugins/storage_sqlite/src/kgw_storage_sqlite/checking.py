"""``kgw check-store``: checks a database's structure, and the records in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kgw_core.errors import KafkaError
from kgw_core.records import iter_batches
from kgw_core.records.soundness import problem_of
from kgw_storage_sqlite.errors import explained
from kgw_storage_sqlite.schema import APPLICATION_ID, MAX_OFFSET, MIGRATIONS, key

MOST: Final = 100
"""Problems of the file's structure that are reported, at most."""


def check(database: Path) -> list[str]:
    """All problems, one a line; none for a sound database. Works beside a gateway that writes to it."""
    if not database.exists():
        return [f"{database} is not there"]
    connection = sqlite3.connect(
        f"{database.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=30.0
    )
    try:
        return list(_problems(connection))
    except sqlite3.Error as error:
        return [f"{database}: {explained(error)}"]
    finally:
        connection.close()


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        yield "the file is a database of another program"
        return
    if version > len(MIGRATIONS):
        yield f"the database has version {version}; this plugin knows up to {len(MIGRATIONS)}"
        return
    try:
        for [line] in connection.execute(f"PRAGMA integrity_check({MOST})"):
            if line != "ok":
                yield f"structure: {line}"
    except sqlite3.Error as error:
        yield f"structure: {explained(error)}"
    connection.execute("BEGIN")  # one snapshot for all later statements
    rows = connection.execute(
        "SELECT logs.id, topics.name, partition, start FROM logs "
        "JOIN topics ON topics.id = topic_id WHERE partition < partitions ORDER BY logs.id"
    ).fetchall()
    for id, topic, partition, start in rows:
        for problem in _log_problems(connection, id, start):
            yield f"{topic}-{partition}: {problem}"


def _log_problems(connection: sqlite3.Connection, id: int, start: int) -> Iterator[str]:
    """The problems of one log. Gaps are none: compaction makes them."""
    lower, upper = key(id, 0), key(id + 1, 0)
    following = 0
    while True:
        try:
            row = connection.execute(
                "SELECT id, last, data FROM chunks WHERE id >= ? AND id < ? ORDER BY id LIMIT 1",
                (lower, upper),
            ).fetchone()
        except sqlite3.Error as error:
            yield f"cannot be read from offset {lower & MAX_OFFSET} on: {explained(error)}"
            return
        if row is None:
            return
        lower = row[0] + 1
        base, last, data = row[0] & MAX_OFFSET, row[1], row[2]
        if last < start:
            continue
        problem = _chunk_problem(base, last, data, following)
        if problem:
            yield f"offsets {base} to {last}: {problem}"
        following = last + 1


def _chunk_problem(base: int, last: int, data: bytes, following: int) -> str | None:
    if base < following:
        return f"they overlap with what ends at {following - 1}"
    at = base
    try:
        for batch in iter_batches(data, allow_partial=False):
            if batch.base_offset < at or (batch.base_offset != at and at == base):
                return f"a batch says that it begins at {batch.base_offset}"
            batch.check_crc()
            if problem := problem_of(batch, compacted=True):
                return f"the batch at {batch.base_offset} is corrupt: {problem}"
            at = batch.last_offset + 1
    except KafkaError as error:
        return str(error)
    if at != last + 1:
        return f"the batches in there end at {at - 1}"
    return None
