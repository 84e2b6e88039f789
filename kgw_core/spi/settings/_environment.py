"""Overlays a TOML table with the values of environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgw_core.spi.settings._types import FromEnv


def overlay(table: dict[str, Any], env: Mapping[str, str], *, prefix: str, cls: Any) -> list[str]:
    """Put the settings of ``env`` into ``table``, which will be read as a ``cls``. Return the problems, one
    line each.

    ``<prefix>A__B=text`` sets key ``b`` of table ``a``, and ``A__0__B`` key ``b`` of the first entry of the
    array ``a``. A name without two underscores in a row sets a key at the top. Other names are ignored, as
    Kubernetes makes KGW_PORT for a service with the name kgw; but a name that looks like a setting is a
    problem. An empty text sets nothing.
    """
    found: list[tuple[list[str], str]] = []
    problems = []
    ours = sorted(name for name, text in env.items() if name.startswith(prefix) and text)
    if not ours:
        return []
    from kgw_core.spi.settings._variables import meant, spelt

    tables = dict(spelt(cls))
    for variable in ours:
        path = variable.removeprefix(prefix).lower().split("__")
        if len(path) == 1 and path[0] not in tables[""]:
            mistake = meant(path[0], tables)
        elif f"{path[0]}__0" in tables and not path[1].isdecimal():
            mistake = "entries are counted from 0", "__".join((path[0], "0", *path[1:]))
        else:
            found.append((path, variable))
            continue
        if mistake:
            right = prefix + mistake[1].upper()
            problems.append(f"environment: {variable}: {mistake[0]}; did you mean {right}?")
    for path, variable in sorted(found, key=lambda item: [part.zfill(4) for part in item[0]]):
        node: Any = table
        for part, following in zip(path, [*path[1:], ""], strict=True):
            new: Any = (
                ([] if following.isdecimal() else {}) if following else FromEnv(env[variable], variable)
            )
            if isinstance(node, list) and part.isdecimal() and int(part) <= len(node):
                if int(part) == len(node):
                    node.append(new)
                elif not following:
                    node[int(part)] = new
                node = node[int(part)]
            elif isinstance(node, dict):
                if following:
                    node = node.setdefault(part, new)
                else:
                    node[part] = new
            else:
                problems.append(f'environment: {variable}: there is no "{part}" to set')
                break
    return problems
