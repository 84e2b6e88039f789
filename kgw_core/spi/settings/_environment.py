"""Values of environment variables over those of a TOML table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kgw_core.spi.settings._types import FromEnv


def overlay(table: dict[str, Any], env: Mapping[str, str], *, prefix: str, top: Collection[str]) -> list[str]:
    """Put what ``env`` sets into ``table``; return the problems, one line each, with the names of variables.

    ``<prefix>A__B=text`` sets key ``b`` of table ``a``, ``A__0__B`` the same of the first of an array of
    tables. Names without two underscores in a row count only if they stand in ``top``: others use the
    prefix too (Kubernetes makes KGW_PORT for a service called kgw). An empty text sets nothing.
    """
    found: list[tuple[list[str], str]] = []
    for variable, text in env.items():
        path = variable.removeprefix(prefix).lower().split("__")
        if variable.startswith(prefix) and text and (len(path) > 1 or path[0] in top):
            found.append((path, variable))
    problems = []
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
