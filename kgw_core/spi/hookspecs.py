"""Every hook of kgw. They run while a gateway is assembled and return classes, never instances.

A hook call costs microseconds and cannot await, so nothing on the way of a request is a hook: the core
makes one object of the class that the config selects, and calls that.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import LogStore

PROJECT = "kgw"
"""The project name of pluggy's markers, and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def kgw_register_storage() -> Sequence[type[LogStore]]:  # type: ignore[empty-body]
    """Return the :class:`~kgw_core.spi.storage.LogStore` classes of this plugin."""


@hookspec
def kgw_register_ledger() -> Sequence[type[OffsetLedger]]:  # type: ignore[empty-body]
    """Return the :class:`~kgw_core.spi.ledger.OffsetLedger` classes of this plugin."""


@hookspec
def kgw_register_state() -> Sequence[type[StateStore]]:  # type: ignore[empty-body]
    """Return the :class:`~kgw_core.spi.state.StateStore` classes of this plugin."""
