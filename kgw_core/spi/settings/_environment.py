"""Values of environment variables over those of a TOML table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgw_core.spi.settings._types import FromEnv


def overlay(table: dict[str, Any], env: Mapping[str, str], *, prefix: str, cls: Any) -> list[str]:
    """Put what ``env`` sets into ``table``, to be read as a ``cls``; return the problems, one line each.

    ``<prefix>A__B=text`` sets key ``b`` of table ``a``, ``A__0__B`` the same of the first of an array of
    tables. Without two underscores in a row only keys at the top are set. Other names belong to somebody else
    (Kubernetes makes KGW_PORT for a service called kgw), unless they look like a setting: that is a problem.
    An empty text sets nothing.
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
            told = meant(path[0], tables)
        elif f"{path[0]}__0" in tables and not path[1].isdecimal():
            told = "entries are counted from 0", "__".join((path[0], "0", *path[1:]))
        else:
            found.append((path, variable))
            continue
        if told:
            right = prefix + told[1].upper()
            problems.append(f"environment: {variable}: {told[0]}; did you mean {right}?")
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
