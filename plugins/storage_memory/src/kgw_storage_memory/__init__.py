"""kgw's storage in memory, for `kgw dev` and tests."""

from __future__ import annotations

from kgw_core.spi.hookspecs import hookimpl
from kgw_core.spi.storage import LogStore


@hookimpl
def kgw_register_storage() -> list[type[LogStore]]:
    from kgw_storage_memory.store import MemoryStore

    return [MemoryStore]
