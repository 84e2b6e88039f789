"""A copy of the database as it is at one moment, while a gateway goes on writing to it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from kgw_core.errors import KafkaStorageError
from kgw_storage_sqlite import epoch
from kgw_storage_sqlite.errors import explained
from kgw_storage_sqlite.schema import EPOCHS_SINCE


def backup(database: Path, target: Path) -> None:
    """Copy ``database`` to ``target``, which appears when it is whole and on the disk.

    :raises KafkaStorageError: it is there already, one of the two cannot be read or written, or the database
        is damaged.
    """
    if target.exists():
        raise KafkaStorageError(f"{target} is there already")
    if not database.exists():
        raise KafkaStorageError(f"{database} is not there")
    if not target.parent.is_dir():
        raise KafkaStorageError(f"backup to {target} failed: there is no directory {target.parent}")
    part = target.with_name(target.name + ".part")
    _remove(part)
    try:
        _copy(database, part)
        _sync(part)
        os.replace(part, target)
        _sync(target.parent)
    except sqlite3.Error as error:
        raise KafkaStorageError(f"backup of {database} to {target} failed: {explained(error)}") from error
    except OSError as error:
        raise KafkaStorageError(f"backup to {target} failed: {error.strerror or error}") from error
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    """The files of an incomplete copy, with those that SQLite leaves beside it after a failure."""
    for end in ("", "-journal", "-wal", "-shm"):
        Path(f"{part}{end}").unlink(missing_ok=True)


def _copy(database: Path, part: Path) -> None:
    source = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=30.0)
    try:
        copy = sqlite3.connect(part)
        try:
            # All pages in one step: it sees one moment, and writers of a write-ahead log do not wait for it.
            source.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode = delete")  # the copy is one file
            if copy.execute("PRAGMA user_version").fetchone()[0] >= EPOCHS_SINCE:
                epoch.copied(copy)
                copy.commit()
            [(told,)] = copy.execute("PRAGMA quick_check(1)")
            if told != "ok":
                raise KafkaStorageError(
                    f"{database} is damaged, and so would be a copy: {' '.join(told.split())} "
                    "(kgw check-store says what is left)"
                )
        finally:
            copy.close()
    finally:
        source.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
