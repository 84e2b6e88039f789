"""The names of settings as environment variables, and hints for misspelt variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

import msgspec

from kgw_core.spi.settings._words import bare_type, kind_of

_SERVICE = re.compile(r"(.*_)?(service_(host|port(_\w+)?)|port(_\d+_(tcp|udp|sctp)(_(proto|port|addr))?)?)")
"""The variables that Kubernetes makes for a service: KGW_PORT, KGW_STORAGE_PORT_8080_TCP_ADDR."""

ANY = "…"
"""Stands among the keys of a table that may have other keys, such as a plugin's."""
_CLOSE = 0.85
"""A variable that is this similar to a setting counts as misspelt."""


def spelt(cls: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Each table by its name in variables (``limits``, ``listeners__0``, empty for the top), and its keys,
    which may include :data:`ANY`."""
    keys = []
    for field in msgspec.structs.fields(cls):
        tp, kind = bare_type(field.type), kind_of(field.type)
        name = f"{path}__{field.encode_name}" if path else field.encode_name
        if get_origin(tp) is tuple:
            tp, name = get_args(tp)[0], f"{name}__0"
        if isinstance(tp, type) and issubclass(tp, msgspec.Struct):
            yield from spelt(tp, name)
        elif kind == "configs":
            yield name, [ANY]
        else:
            keys.append(ANY if kind == "rest" else field.encode_name)
    yield path, keys


def meant(name: str, tables: Mapping[str, list[str]]) -> tuple[str, str] | None:
    """The problem of a variable that sets nothing, and the right name; None if the variable is not ours.

    ``name`` and the result are in lower case and without the prefix.
    """
    for table, keys in tables.items():
        if name and name in (table, table.removesuffix("__0")):
            return "is a whole table; a variable sets one key of it", f"{table}__{keys[0]}"
    right = [
        f"{table}__{key}" if table else key for table, keys in tables.items() for key in keys if key != ANY
    ]
    flat = {key.replace("__0__", "_").replace("__", "_"): key for key in right}
    flat |= {key.replace("__", "_"): key for key in right}
    if name in flat:
        return "is no setting", flat[name]
    if _SERVICE.fullmatch(name):
        return None
    import difflib  # only when something may be wrong

    close = difflib.get_close_matches(name, flat, 1, _CLOSE)
    if close:
        return "is no setting", flat[close[0]]
    for table in sorted(tables, key=len, reverse=True):
        start = table.removesuffix("__0").replace("__", "_") + "_"
        if table and ANY in tables[table] and name.startswith(start):
            return "is no setting", f"{table}__{name.removeprefix(start)}"
    return None
