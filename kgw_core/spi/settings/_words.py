"""Describes types and values in words, for messages and the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from kgw_core.spi.settings._types import Given, Secret
from kgw_core.spi.settings._units import format_size


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The entry of ``known`` that is closest to ``word``, or None."""
    import difflib  # only when something is wrong

    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), by_lower, 1)
    return by_lower[found[0]] if found else None


def bare_type(tp: Any) -> Any:
    """The type without ``Annotated`` and without ``| None``."""
    while True:
        if get_origin(tp) is Annotated:
            tp = get_args(tp)[0]
        elif get_origin(tp) in (Union, UnionType):
            members = [member for member in get_args(tp) if member is not NoneType]
            if len(members) != 1:
                return tp
            tp = members[0]
        else:
            return tp


def _metas(tp: Any) -> list[msgspec.Meta]:
    if get_origin(tp) is Annotated:
        return _metas(get_args(tp)[0]) + [meta for meta in tp.__metadata__ if isinstance(meta, msgspec.Meta)]
    if get_origin(tp) in (Union, UnionType):
        return [meta for member in get_args(tp) for meta in _metas(member)]
    return []


def kind_of(tp: Any) -> str:
    """The kind of Size, Duration and so on; empty for other types."""
    return next((str(meta.extra["kgw"]) for meta in _metas(tp) if meta.extra and "kgw" in meta.extra), "")


def fits_length(items: list[Any], tp: Any) -> bool:
    """Whether the length of an array is within ``Meta(min_length=…, max_length=…)`` of its type."""
    return all(
        (meta.min_length or 0) <= len(items) and (meta.max_length is None or len(items) <= meta.max_length)
        for meta in _metas(tp)
    )


_NAMES: dict[Any, str] = {
    "size": 'a size in bytes, such as 1048576 or "1MiB"',
    "duration": 'a duration, such as 30 (seconds), "500ms" or "10m"',
    "configs": "a table of Kafka topic configs",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    Secret: 'text, {env = "NAME"} or {file = "PATH"}',
    list: "an array",
    tuple: "an array",
    dict: "a table",
}


def expected(tp: Any) -> str:
    """The type in words, for messages and the reference: ``a whole number, at least 1``."""
    bare, kind, origin = bare_type(tp), kind_of(tp), get_origin(bare_type(tp))
    if origin is Literal:
        return " or ".join(shown(value) for value in get_args(bare))
    if origin in (Union, UnionType):
        return " or ".join(expected(member) for member in get_args(bare) if member is not NoneType)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return "a table"
    name = _NAMES.get(kind) or _NAMES.get(bare) or _NAMES.get(origin)
    words = str(name or getattr(bare, "__name__", bare))
    limits = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    limits |= {"min_length": "length at least", "max_length": "length at most", "pattern": "matching"}
    for meta in _metas(tp):
        for attribute, phrase in limits.items():
            bound = getattr(meta, attribute)
            if bound is not None:
                words += f", {phrase} {format_size(bound) if kind == 'size' else bound}"
    return words


def shown(value: object) -> str:
    """A value in TOML, cut at 60 characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "an array"
    text = msgspec.json.encode(str(value)).decode() if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def source_of(given: object) -> str | None:
    """The source of ``given``, or of all that is in it; None if it is the file."""
    if isinstance(given, Given):
        return given.source
    if isinstance(given, Mapping | list) and given:
        found = [source_of(item) for item in (given.values() if isinstance(given, Mapping) else given)]
        if all(found):
            return joined(dict.fromkeys(filter(None, found)))
    return None


def joined(sources: Iterable[str]) -> str:
    """Several sources in one text: ``environment: KGW_A, KGW_B``."""
    first, *others = sources
    return ", ".join([first, *(other.removeprefix("environment: ") for other in others)])
