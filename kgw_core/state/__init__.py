"""The gateway's own state: the default StateStore if the config names no plugin, and its writer."""

from __future__ import annotations

from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import LogStore


def default_state(store: LogStore) -> StateStore:
    """The StateStore of ``store`` itself; else a log in ``store`` if it is durable, or memory if it is
    not."""
    own = store.state_store()
    if own is not None:
        return own
    if store.capabilities().durable:
        from kgw_core.state.log import LogStateStore

        return LogStateStore(store)
    from kgw_core.state.memory import MemoryStateStore

    return MemoryStateStore()
