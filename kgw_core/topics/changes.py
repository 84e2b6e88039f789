"""Applies the operations of IncrementalAlterConfigs to the configs of one resource (KIP-339)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from kgw_core.errors import InvalidConfig, InvalidRequest

SET, DELETE, APPEND, SUBTRACT = range(4)
OPERATIONS = {SET: "SET", DELETE: "DELETE", APPEND: "APPEND", SUBTRACT: "SUBTRACT"}

MOST_TEXT: Final = 32_767
"""The most bytes of a string in the protocol."""

Change = tuple[str, int, str | None]
"""Name of the config, operation and value."""


def applied(
    values: Mapping[str, str], changes: Iterable[Change], items: Callable[[str], Iterable[str]]
) -> dict[str, str]:
    """The texts by name after ``changes``.

    ``items(name)`` returns the list to which APPEND and SUBTRACT apply, and raises if the config is no list.

    :raises InvalidRequest: a name occurs twice, a value is null, or an operation is unknown.
    :raises InvalidConfig: a list has become too long.
    :raises KafkaError: from ``items``.
    """
    result, seen = dict(values), set()
    for name, operation, text in changes:
        if name in seen:
            raise InvalidRequest(f"Error due to duplicate config keys: {name}")
        seen.add(name)
        if operation == DELETE:
            result.pop(name, None)
            continue
        if operation not in OPERATIONS:
            raise InvalidRequest(f"Unknown operation {operation} on config {name}")
        if text is None:
            raise InvalidRequest(f"Null value not supported for : {name}")
        result[name] = text if operation == SET else _joined(items(name), operation, text)
        if len(result[name].encode()) > MOST_TEXT:
            raise InvalidConfig(f"{name} would be longer than the {MOST_TEXT} bytes that can be told of it")
    return result


def _joined(before: Iterable[str], operation: int, text: str) -> str:
    items = dict.fromkeys(before)
    for item in text.split(","):
        if operation == APPEND:
            items[item.strip()] = None
        else:
            items.pop(item.strip(), None)
    return ",".join(items)
