"""The kinds of plugins, and the hook of each: ``kgw_register_<kind>`` returns classes, never instances.

Hooks run while a gateway is assembled. A hook call costs microseconds and cannot await, so requests use no
hooks: the core makes one object of the class that the config selects, and calls that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

import pluggy

from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import LogStore

PROJECT = "kgw"
"""The project name of pluggy's markers, and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

KINDS: Final[Mapping[str, type[Any]]] = {
    "storage": LogStore,
    "ledger": OffsetLedger,
    "state": StateStore,
}
"""The base class of each kind of plugin. A new kind is one entry here: entry points ``<kind>.<name>``, the
hook, the API version and the checks of a class follow from it."""


def hook_of(kind: str) -> str:
    """The name of the hook that returns the classes of a kind."""
    return f"kgw_register_{kind}"


def specs(kinds: Mapping[str, type[Any]]) -> ModuleType:
    """The hook specifications of these kinds, for pluggy."""
    module = ModuleType("kgw hooks")
    for kind, base in kinds.items():
        setattr(module, hook_of(kind), _spec(kind, base))
    return module


def _spec(kind: str, base: type[Any]) -> Callable[[], Sequence[type[Any]]]:
    def register() -> Sequence[type[Any]]:
        raise NotImplementedError

    register.__name__ = hook_of(kind)
    register.__doc__ = f"Return the {base.__name__} classes of this plugin."
    return hookspec(register)
