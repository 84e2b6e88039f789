"""Where the gateway keeps its own state when the config names no plugin for it."""

from __future__ import annotations

from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import LogStore


def default_state(store: LogStore) -> StateStore:
    """What goes with ``store``: its own; else a log in it where it is durable, memory where it is not."""
    own = store.state_store()
    if own is not None:
        return own
    if store.capabilities().durable:
        from kgw_core.state.log import LogStateStore

        return LogStateStore(store)
    from kgw_core.state.memory import MemoryStateStore

    return MemoryStateStore()
