"""From a TOML table to a Struct, with all that is wrong in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import msgspec

from kgw_core.spi.settings._types import ConfigError, FromEnv, Secret
from kgw_core.spi.settings._units import parse_duration, parse_size
from kgw_core.spi.settings._words import (
    bare_type,
    expected,
    fits_length,
    kind_of,
    nearest,
    shown,
    variable_of,
)

T = TypeVar("T")


def read_table(
    table: Mapping[str, object],
    cls: type[T],
    *,
    where: str,
    name: str = "",
    env: Mapping[str, str] | None = None,
) -> T:
    """Make a ``cls`` (a msgspec Struct) of ``table``.

    ``where`` is the path of the file as the user wrote it, ``name`` the table's name in it (empty: the
    whole file); both go into messages. Secrets of the form ``{env = …}`` are looked up in ``env``.

    :raises ConfigError: with all that is wrong, not only the first: wrong types and ranges, missing keys,
        unknown keys (with the nearest known one).
    """
    reader = _Reader(where, os.environ if env is None else env)
    result = reader.struct(table, cls, _At(name))
    if reader.problems:
        raise ConfigError(*reader.problems)
    return result  # type: ignore[no-any-return]


class _At(NamedTuple):
    """Which table we are in. ``number`` is ``" #2"`` in the second of an array of tables."""

    name: str
    number: str = ""
    array: bool = False

    def table(self, key: str) -> _At:
        return _At(f"{self.name}.{key}" if self.name else key, self.number)

    def item(self, key: str, number: int) -> _At:
        return _At(self.table(key).name, f"{self.number} #{number}", True)

    def __str__(self) -> str:
        if not self.name:
            return ""
        return f"[[{self.name}]]{self.number}" if self.array else f"[{self.name}]{self.number}"


_WRONG: Any = object()


class _Reader:
    """Walks a table along a Struct's types; leaves go through msgspec, so that its constraints hold."""

    def __init__(self, where: str, env: Mapping[str, str]) -> None:
        self.where = where
        self.env = env
        self.base = Path(where).parent
        self.problems: list[str] = []

    def problem(self, at: _At, key: str, message: str, given: object = None) -> Any:
        variable = variable_of(given)
        if variable is not None:
            self.problems.append(f"environment: {variable}: {message}")
        else:
            place = " ".join(filter(None, (str(at), key)))
            self.problems.append(": ".join(filter(None, (self.where, place, message))))
        return _WRONG

    def mismatch(self, given: object, tp: Any, at: _At, key: str) -> Any:
        return self.problem(at, key, f"expected {expected(tp)}, got {shown(given)}", given)

    def struct(self, table: Mapping[str, object], cls: Any, at: _At) -> Any:
        before = len(self.problems)
        values: dict[str, Any] = {}
        fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
        rest = next((key for key, field in fields.items() if kind_of(field.type) == "rest"), None)
        if rest is not None:
            name = fields.pop(rest).name
            values[name] = {key: value for key, value in table.items() if key not in fields}
        for key, given in table.items():
            if key in fields:
                values[fields[key].name] = self.value(given, fields[key].type, at, key)
            elif rest is None:
                self.unknown(key, given, fields, at)
        for key, field in fields.items():
            if field.required and key not in table:
                self.problem(at, key, f"is missing; expected {expected(field.type)}")
        if len(self.problems) > before:
            return _WRONG
        try:
            return cls(**values)
        except ValueError as error:
            return self.problem(at, "", str(error))

    def unknown(self, key: str, given: object, known: Iterable[str], at: _At) -> None:
        meant = nearest(key, known)
        hint = f'did you mean "{meant}"?' if meant else f"known here: {', '.join(known) or 'none'}"
        variable = variable_of(given)
        self.problem(at, key, (f'unknown key "{key}"; ' if variable else "unknown key; ") + hint, given)

    def value(self, given: object, tp: Any, at: _At, key: str) -> Any:
        bare, kind = bare_type(tp), kind_of(tp)
        origin, args = get_origin(bare), get_args(bare)
        if kind == "configs":
            return self.configs(given, tp, at.table(key), "")
        if bare is Any or bare is object:
            return str(given) if isinstance(given, FromEnv) else given
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            if isinstance(given, Mapping):
                return self.struct(given, bare, at.table(key))
        elif origin is list or (origin is tuple and args[1:] == (...,)):
            if isinstance(given, list) and fits_length(given, tp):
                return origin(
                    self.item(item, args[0], at, key, number) for number, item in enumerate(given, 1)
                )
        elif origin is dict and args[0] is str:
            if isinstance(given, Mapping):
                return {k: self.value(v, args[1], at.table(key), k) for k, v in given.items()}
        elif bare is Secret:
            return self.secret(given, tp, at, key)
        elif bare is Path:
            if isinstance(given, str) and given:
                return self.base / Path(str(given)).expanduser()
        else:
            return self.leaf(given, tp, bare, kind, at, key)
        return self.mismatch(given, tp, at, key)

    def item(self, given: object, tp: Any, at: _At, key: str, number: int) -> Any:
        bare = bare_type(tp)
        if isinstance(given, Mapping) and isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            return self.struct(given, bare, at.item(key, number))
        return self.value(given, tp, at, f"{key}[{number}]")

    def leaf(self, given: object, tp: Any, bare: Any, kind: str, at: _At, key: str) -> Any:
        value, strict = given, True
        if isinstance(given, FromEnv):
            value, strict = str(given), bare is str
        try:
            if kind == "size" and isinstance(value, str):
                value = parse_size(value)
            elif kind == "duration" and isinstance(value, str):
                value = parse_duration(value)
            if kind and isinstance(value, int | float) and not (isfinite(value) and value >= 0):
                return self.mismatch(given, tp, at, key)
            return msgspec.convert(value, tp, strict=strict)
        except (ValueError, OverflowError):  # msgspec.ValidationError is a ValueError
            return self.mismatch(given, tp, at, key)

    def secret(self, given: object, tp: Any, at: _At, key: str) -> Any:
        match given:
            case str():
                return Secret(given)
            case {"env": str(variable), **others} if not others:
                if variable in self.env:
                    return Secret(self.env[variable])
                why = f"environment variable {variable} is not set"
                return self.problem(at, key, f"expected {expected(tp)}; {why}")
            case {"file": str(path), **others} if not others:
                try:
                    return Secret((self.base / path).read_text(encoding="utf-8").rstrip("\r\n"))
                except (OSError, UnicodeDecodeError) as error:
                    reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
                    return self.problem(at, key, f"expected {expected(tp)}; {path}: {reason}")
        return self.problem(at, key, f"expected {expected(tp)}")  # what was given stays unsaid

    def configs(self, given: object, tp: Any, at: _At, prefix: str) -> Any:
        """Flatten ``{"retention": {"ms": 1000}}``, which is what TOML makes of a bare ``retention.ms``."""
        if not isinstance(given, Mapping):
            return self.mismatch(given, tp, at, prefix)
        flat: dict[str, str] = {}
        for part, value in given.items():
            key = f"{prefix}.{part}" if prefix else part
            if isinstance(value, FromEnv):
                flat[key.replace("_", ".")] = str(value)
            elif isinstance(value, Mapping):
                nested = self.configs(value, tp, at, key)
                flat |= nested
            elif isinstance(value, str | int | float):
                flat[key] = ("false", "true")[value] if isinstance(value, bool) else str(value)
            else:
                self.problem(at, key, f"expected text or a number, got {shown(value)}")
        return flat
