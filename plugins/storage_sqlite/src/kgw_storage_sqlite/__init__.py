"""kgw's storage in one SQLite database: records, topics and the gateway's state survive kill -9."""

from __future__ import annotations

from kgw_core.spi.hookspecs import hookimpl
from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import LogStore


@hookimpl
def kgw_register_storage() -> list[type[LogStore]]:
    from kgw_storage_sqlite.store import SqliteStore

    return [SqliteStore]


@hookimpl
def kgw_register_state() -> list[type[StateStore]]:
    from kgw_storage_sqlite.state import SqliteStateStore

    return [SqliteStateStore]
