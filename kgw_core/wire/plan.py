"""The layout of one version of a message: its fields in wire order, and the fields that it lacks.

Plans compare by value, so versions with the same layout have equal plans.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from kgw_core.wire.base import ZERO_UUID, Field, Message, Struct

FORMATS = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "float64": "d",
    "uuid": "16s",
}
SIZES = {"?": 1, "b": 1, "B": 1, "x": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "d": 8, "16s": 16}


class FieldPlan(NamedTuple):
    """One field in one version."""

    attr: str
    path: str
    """The field's place in the message, for error messages: "topics.partitions.index"."""
    kind: str
    """fixed, string, bytes, records, array or struct."""
    format: str
    """A fixed field's character in a struct format."""
    nullable: bool
    optional: bool
    """The attribute's type allows None, in this version or in another."""
    compact: bool
    element: FieldPlan | None
    struct: StructPlan | None
    default: str
    """The default as Python source. "[]" and "Name()" make a new object."""
    ignorable: bool


class StructPlan(NamedTuple):
    """One struct in one version."""

    cls: type[Struct]
    fields: tuple[FieldPlan, ...]
    tagged: tuple[tuple[int, FieldPlan], ...]
    absent: tuple[FieldPlan, ...]
    flexible: bool


def has_version(versions: str, version: int) -> bool:
    """Whether Kafka's notation ("3+", "0-2", "7", "") includes `version`."""
    if not versions:
        return False
    if versions.endswith("+"):
        return version >= int(versions[:-1])
    low, _, high = versions.partition("-")
    return int(low) <= version <= int(high or low)


def is_flexible(cls: type[Message], version: int) -> bool:
    """Whether this version of `cls` has tagged fields and compact lengths."""
    return cls.FLEXIBLE_FROM is not None and version >= cls.FLEXIBLE_FROM


def struct_class(owner: type[Struct], field_type: str) -> type[Struct] | None:
    """The class of a field that is a struct or an array of structs. It is in the module of `owner`."""
    base = field_type.removeprefix("[]")
    if not base[0].isupper():
        return None
    found = vars(sys.modules[owner.__module__])[base]
    assert isinstance(found, type) and issubclass(found, Struct)
    return found


def plan_message(cls: type[Message], version: int) -> StructPlan:
    """The plan of one version of `cls`. ValueError if there is no such version."""
    low, high = cls.VERSIONS
    if not low <= version <= high:
        raise ValueError(f"{cls.NAME} has versions {low} to {high}, not {version}")
    return _struct(cls, version, is_flexible(cls, version), "")


def _struct(cls: type[Struct], version: int, flexible: bool, prefix: str) -> StructPlan:
    fields, tagged, absent = [], [], []
    for attr, field in zip(cls.__slots__, cls.SCHEMA, strict=True):
        if not has_version(field.versions, version):
            absent.append(_field(cls, attr, field, version, flexible, prefix, deep=False))
        elif has_version(field.tagged, version):
            assert field.tag is not None
            tagged.append((field.tag, _field(cls, attr, field, version, flexible, prefix)))
        else:
            fields.append(_field(cls, attr, field, version, flexible, prefix))
    return StructPlan(cls, tuple(fields), tuple(sorted(tagged, key=lambda t: t[0])), tuple(absent), flexible)


def _field(
    owner: type[Struct], attr: str, field: Field, version: int, flexible: bool, prefix: str, deep: bool = True
) -> FieldPlan:
    path = prefix + attr
    compact = flexible and not field.classic
    element = struct = None
    base = field.type.removeprefix("[]")
    cls = struct_class(owner, field.type)
    if cls is not None and deep:
        struct = _struct(cls, version, flexible, path + ".")
    kind = "struct" if cls is not None else "fixed" if base in FORMATS else base
    format_ = FORMATS.get(base, "")
    if field.type.startswith("[]"):
        element = FieldPlan(attr, path, kind, format_, False, False, compact, None, struct, "", False)
        kind, format_, struct = "array", "", None
    return FieldPlan(
        attr,
        path,
        kind,
        format_,
        has_version(field.nullable, version),
        bool(field.nullable) or is_none_by_default(field),
        compact,
        element,
        struct,
        default_source(field),
        field.ignorable,
    )


def is_none_by_default(field: Field) -> bool:
    """Whether the attribute's default is None: a null default, or a tagged struct that is not sent."""
    return field.default is None or (field.default is ... and bool(field.tagged))


def default_source(field: Field) -> str:
    """The default of a field as source. The source of a mutable default makes a new object."""
    default: Any = field.default
    if is_none_by_default(field):
        return "None"
    if default == ():
        return "[]"
    if default is ...:
        return f"{field.type}()"
    if field.type == "uuid" and default == ZERO_UUID:
        return "ZERO_UUID"
    return repr(default)


def min_size(plan: FieldPlan) -> int:
    """The fewest bytes that a field can take."""
    if plan.kind == "fixed":
        return SIZES[plan.format]
    if plan.kind == "struct":
        if plan.nullable:
            return 1
        assert plan.struct is not None
        return sum(map(min_size, plan.struct.fields)) + plan.struct.flexible
    if plan.compact:
        return 1
    return 2 if plan.kind == "string" else 4
