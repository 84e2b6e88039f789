"""Reads a TOML table into a Struct, and reports all of its problems."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import msgspec

from kgw_core.spi.settings._report import Place, Report
from kgw_core.spi.settings._types import ConfigError, Given, Secret, WrongSettings
from kgw_core.spi.settings._units import parse_duration, parse_size
from kgw_core.spi.settings._words import (
    bare_type,
    expected,
    fits_length,
    kind_of,
    nearest,
    shown,
    source_of,
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

    ``where`` is the path of the file as the user wrote it, ``name`` the table's name in it (empty: the whole
    file). Both are used in messages. Secrets of the form ``{env = …}`` are looked up in ``env``.

    :raises ConfigError: names all problems: wrong types and ranges, missing keys, unknown keys (with the
        nearest known one), and those of ``__post_init__``.
    """
    report = Report(where)
    result = read_into(report, table, cls, name=name, env=env)
    if report.problems:
        raise ConfigError(*report.problems)
    return result  # type: ignore[return-value] # nothing is wrong, so it is there


def read_into(
    report: Report,
    table: Mapping[str, object],
    cls: type[T],
    *,
    name: str = "",
    env: Mapping[str, str] | None = None,
) -> T | None:
    """:func:`read_table` for callers with further checks: the problems are added to ``report``.

    The result has a default in place of a wrong value, and :data:`WRONG` in place of an array's entry that
    cannot be made. It is None if the ``cls`` cannot be made.
    """
    made = _Reader(report, os.environ if env is None else env).struct(table, cls, _At(name))
    return None if made is WRONG else made


class _At(NamedTuple):
    """The current table; in an array of tables with its ``number``, ``" #2"``, and its name as ``label``."""

    name: str
    number: str = ""
    array: bool = False
    label: str = ""

    def table(self, key: str) -> _At:
        return _At(f"{self.name}.{key}" if self.name else key, self.number, False, self.label)

    def item(self, key: str, number: int, name: object) -> _At:
        label = shown(name) if isinstance(name, str) and name else ""
        return _At(self.table(key).name, f"{self.number} #{number}", True, label)

    def place(self, key: str = "") -> Place:
        table = f"[[{self.name}]]" if self.array else f"[{self.name}]" if self.name else ""
        return Place(table + self.number, key, self.label)


WRONG: Any = object()


def _is_struct(tp: Any) -> bool:
    return isinstance(tp, type) and issubclass(tp, msgspec.Struct)


class _Reader:
    """Walks a table along a Struct's types. msgspec converts the leaves, so that its constraints hold."""

    def __init__(self, report: Report, env: Mapping[str, str]) -> None:
        self.report = report
        self.env = env
        self.base = Path(report.where).parent

    def problem(self, at: _At, key: str, message: str, given: object = None) -> Any:
        self.report.add(at.place(key), message, given)
        return WRONG

    def mismatch(self, given: object, tp: Any, at: _At, key: str) -> Any:
        return self.problem(at, key, f"expected {expected(tp)}, got {shown(given)}", given)

    def struct(self, table: Mapping[str, object], cls: Any, at: _At) -> Any:
        before = len(self.report.problems)
        values: dict[str, Any] = {}
        fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
        rest = next((key for key, field in fields.items() if kind_of(field.type) == "rest"), None)
        if rest is not None:
            name = fields.pop(rest).name
            values[name] = {key: value for key, value in table.items() if key not in fields}
        for key, given in table.items():
            if key in fields:
                value = self.value(given, fields[key].type, at, key)
                if value is not WRONG:
                    values[fields[key].name] = value
            elif rest is None:
                self.unknown(key, given, fields, at)
        for key, field in fields.items():
            if field.required and key not in table:
                self.problem(at, key, f"is missing; expected {expected(field.type)}")
            elif isinstance(field.default, Path) and key not in table:
                values[field.name] = self.base / field.default
        if any(field.required and field.name not in values for field in fields.values()):
            return WRONG
        return self.made(cls, values, table, at, sound=len(self.report.problems) == before)

    def made(
        self, cls: Any, values: dict[str, Any], table: Mapping[str, object], at: _At, *, sound: bool
    ) -> Any:
        """The Struct, with defaults in place of values that it refuses."""
        while True:
            try:
                return cls(**values)
            except WrongSettings as error:
                names = {field.encode_name: field.name for field in msgspec.structs.fields(cls)}
                refused = len(values)
                for key, message, *others in error.problems:
                    first, *others = sorted(
                        (key, *others), key=lambda one: one not in table
                    )  # a key that is set
                    self.report.add(
                        at.place(first), message, table.get(first), beside=[at.place(one) for one in others]
                    )
                    values.pop(names.get(first, first), None)
                if len(values) == refused:
                    return WRONG
                sound = False
            except Exception as error:
                if not sound:  # a default, WRONG or a missing value may be the reason
                    return WRONG
                if not isinstance(error, ValueError):
                    raise
                return self.problem(at, "", str(error))

    def unknown(self, key: str, given: object, known: Iterable[str], at: _At) -> None:
        meant = nearest(key, known)
        hint = f'did you mean "{meant}"?' if meant else f"known here: {', '.join(known) or 'none'}"
        self.problem(
            at, key, (f'unknown key "{key}"; ' if source_of(given) else "unknown key; ") + hint, given
        )

    def value(self, given: object, tp: Any, at: _At, key: str) -> Any:
        self.report.is_from(at.place(key), given)
        bare, kind = bare_type(tp), kind_of(tp)
        origin, args = get_origin(bare), get_args(bare)
        if kind == "configs":
            return self.configs(given, tp, at.table(key), "")
        if bare is Any or bare is object:
            return str(given) if isinstance(given, Given) else given
        if _is_struct(bare):
            if isinstance(given, Mapping):
                return self.struct(given, bare, at.table(key))
        elif origin is list or (origin is tuple and args[1:] == (...,)):
            if isinstance(given, list) and fits_length(given, tp):
                return origin(
                    self.item(item, args[0], at, key, number) for number, item in enumerate(given, 1)
                )
            if _is_struct(args[0]):
                begins = f"[[{at.table(key).name}]]"
                why = f"expected entries that begin with {begins}, got {shown(given)}"
                return self.problem(at, key, why, given)
        elif origin is dict and args[0] is str:
            if isinstance(given, Mapping):
                found = {k: self.value(v, args[1], at.table(key), k) for k, v in given.items()}
                return {k: v for k, v in found.items() if v is not WRONG}
        elif bare is Secret:
            return self.secret(given, tp, at, key)
        elif bare is Path:
            return self.path(given, tp, at, key)
        else:
            return self.leaf(given, tp, bare, kind, at, key)
        return self.mismatch(given, tp, at, key)

    def path(self, given: object, tp: Any, at: _At, key: str) -> Any:
        if not isinstance(given, str) or not given or "\0" in given:
            return self.mismatch(given, tp, at, key)
        try:
            return self.base / Path(str(given)).expanduser()
        except RuntimeError:  # "~user" with an unknown user
            return self.problem(at, key, f"{shown(given)} is in the home of an unknown user", given)

    def item(self, given: object, tp: Any, at: _At, key: str, number: int) -> Any:
        bare = bare_type(tp)
        if isinstance(given, Mapping) and _is_struct(bare):
            return self.struct(given, bare, at.item(key, number, given.get("name")))
        return self.value(given, tp, at, f"{key}[{number}]")

    def leaf(self, given: object, tp: Any, bare: Any, kind: str, at: _At, key: str) -> Any:
        value, strict = given, True
        if isinstance(given, Given):
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
        return self.problem(at, key, f"expected {expected(tp)}")  # without the value, which is secret

    def configs(self, given: object, tp: Any, at: _At, prefix: str) -> Any:
        """Flatten ``{"retention": {"ms": 1000}}``, the TOML value of a bare ``retention.ms``."""
        if not isinstance(given, Mapping):
            return self.mismatch(given, tp, at, prefix)
        flat: dict[str, str] = {}
        for part, value in given.items():
            key = f"{prefix}.{part}" if prefix else part
            if isinstance(value, Given):
                key = key.replace("_", ".")
                flat[key] = str(value)
                self.report.is_from(at.place(key), value)
            elif isinstance(value, Mapping):
                flat |= self.configs(value, tp, at, key)
            elif isinstance(value, str | int | float):
                flat[key] = ("false", "true")[value] if isinstance(value, bool) else str(value)
            else:
                self.problem(at, key, f"expected text or a number, got {shown(value)}")
        return flat
