"""Explains why an encoder failed: a slow walk over the message that finds the first wrong value."""

from __future__ import annotations

from typing import Any

from kgw_core.wire.base import Message, Struct
from kgw_core.wire.failures import MalformedMessage
from kgw_core.wire.plan import FieldPlan, StructPlan, plan_message
from kgw_core.wire.primitives import MAX_STRING

_RANGES = {
    "b": (-(1 << 7), (1 << 7) - 1),
    "h": (-(1 << 15), (1 << 15) - 1),
    "i": (-(1 << 31), (1 << 31) - 1),
    "q": (-(1 << 63), (1 << 63) - 1),
    "H": (0, (1 << 16) - 1),
    "I": (0, (1 << 32) - 1),
}


def unencodable(message: Message, version: int, error: Exception) -> MalformedMessage:
    """The error that an encoder raises for a value that cannot be written. It walks the message again."""
    found = explain(message, version) or str(error)
    return MalformedMessage(f"{message.NAME} v{version}: {found}")


def explain(message: Message, version: int) -> str | None:
    """The first value that does not fit, as "topic_data[0].name is None …"; None if there is none."""
    return _struct(plan_message(type(message), version), message, "")


def _struct(plan: StructPlan, value: object, path: str) -> str | None:
    if type(value) is not plan.cls:
        return f"{path.rstrip('.')} is {_kind(value)}, not {plan.cls.__name__}"
    for field in [*plan.fields, *(field for _, field in plan.tagged)]:
        item = getattr(value, field.attr, ...)
        if item is ...:
            return f"{path}{field.attr} is missing"
        tagged_default = item is None and field.optional and field not in plan.fields
        found = None if tagged_default else _field(field, item, path + field.attr)
        if found is not None:
            return found
    return None


def _field(field: FieldPlan, value: Any, path: str) -> str | None:
    if value is None:
        return None if field.nullable else f"{path} is None, which it must not be"
    if field.kind == "array":
        if not isinstance(value, list | tuple):
            return f"{path} is {_kind(value)}, not a list"
        assert field.element is not None
        found = (_field(field.element, item, f"{path}[{i}]") for i, item in enumerate(value))
        return next((text for text in found if text is not None), None)
    if field.kind == "struct":
        assert field.struct is not None
        return _struct(field.struct, value, path + ".")
    if field.kind == "string":
        return _string(value, path)
    if field.kind == "records" and isinstance(value, list):
        return next((f for i, v in enumerate(value) if (f := _bytes(v, f"{path}[{i}]"))), None)
    if field.kind in ("bytes", "records"):
        return _bytes(value, path)
    if field.format == "16s":
        return (
            None
            if isinstance(value, bytes) and len(value) == 16
            else f"{path} is not a uuid: 16 bytes are needed"
        )
    if field.format == "d":
        return None if isinstance(value, float | int) else f"{path} is {_kind(value)}, not a float"
    if field.format in _RANGES:
        low, high = _RANGES[field.format]
        if not isinstance(value, int):
            return f"{path} is {_kind(value)}, not an int"
        return None if low <= value <= high else f"{path} is {value}, not within {low} to {high}"
    return None


def _string(value: object, path: str) -> str | None:
    if not isinstance(value, str):
        return f"{path} is {_kind(value)}, not a str"
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        return f"{path} cannot be written as UTF-8"
    return f"{path} has {length} bytes, the most is {MAX_STRING}" if length > MAX_STRING else None


def _bytes(value: object, path: str) -> str | None:
    return (
        None if isinstance(value, bytes | bytearray | memoryview) else f"{path} is {_kind(value)}, not bytes"
    )


def _kind(value: object) -> str:
    return f"of type {type(value).__name__}" if not isinstance(value, Struct) else f"a {type(value).__name__}"
