"""The public test kit.

:class:`LogStoreSuite` says whether a store keeps its promises: subclass it, give it a ``store``
fixture, run pytest. :class:`OffsetLedgerSuite` and :class:`StateStoreSuite` do the same for the other two
kinds of plugins. :class:`FaultyStore` makes a store fail on demand. :func:`make_batch` makes batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgw_core.testing.batches import make_batch
    from kgw_core.testing.faults import FaultyStore
    from kgw_core.testing.ledger import OffsetLedgerSuite
    from kgw_core.testing.log_store import LogStoreSuite
    from kgw_core.testing.state_store import StateStoreSuite

__all__ = ["FaultyStore", "LogStoreSuite", "OffsetLedgerSuite", "StateStoreSuite", "make_batch"]

_MODULES = {
    "FaultyStore": "kgw_core.testing.faults",
    "LogStoreSuite": "kgw_core.testing.log_store",
    "OffsetLedgerSuite": "kgw_core.testing.ledger",
    "StateStoreSuite": "kgw_core.testing.state_store",
    "make_batch": "kgw_core.testing.batches",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: every pytest run imports this package."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
