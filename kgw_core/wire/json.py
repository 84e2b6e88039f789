"""Messages as JSON values, by the conventions of Kafka's own JsonConverter classes.

Names are Kafka's, in lowerCamelCase. `bytes` and `records` are base64, a uuid is URL-safe base64 without
padding. Fields that the version lacks are left out, and tagged fields with their default value.
"""

from __future__ import annotations

from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from kgw_core.wire.base import Field, Message, Struct
from kgw_core.wire.codecs import M
from kgw_core.wire.failures import unsupported
from kgw_core.wire.plan import has_version, is_none_by_default, struct_class


def to_json(message: Message, version: int) -> dict[str, Any]:
    """The value of one version of `message`, for ``json.dumps``.

    :raises UnsupportedVersion: a field is set that the version lacks, and may not be left out.
    """
    return _struct_to_json(message, version, f"{message.NAME} v{version}")


def from_json(message_class: type[M], value: dict[str, Any], version: int) -> M:
    """The message of a value of :func:`to_json`. Tagged fields may be missing.

    :raises ValueError: a field of this version is missing, or the version lacks a field in `value`.
    """
    message = _struct_from_json(message_class, value, version)
    assert isinstance(message, message_class)
    return message


def _struct_to_json(struct: Struct, version: int, what: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    cls = type(struct)
    defaults = cls()
    for attr, field in zip(cls.__slots__, cls.SCHEMA, strict=True):
        value = getattr(struct, attr)
        if not has_version(field.versions, version):
            if not field.ignorable and value != getattr(defaults, attr):
                raise unsupported(what, attr)
        elif not has_version(field.tagged, version) or not _is_default(
            cls, field, value, getattr(defaults, attr)
        ):
            out[field.name] = _to_json(cls, field.type, value, version, what)
    return out


def _is_default(cls: type[Struct], field: Field, value: object, default: object) -> bool:
    if value == default:
        return True
    struct = struct_class(cls, field.type)
    return struct is not None and is_none_by_default(field) and field.default is ... and value == struct()


def _to_json(owner: type[Struct], kind: str, value: Any, version: int, what: str) -> Any:
    if value is None:
        return None
    if kind.startswith("[]"):
        return [_to_json(owner, kind[2:], item, version, what) for item in value]
    if kind == "uuid":
        return urlsafe_b64encode(value).rstrip(b"=").decode()
    if kind in ("bytes", "records"):
        return b64encode(b"".join(value) if isinstance(value, list) else value).decode()
    if isinstance(value, Struct):
        return _struct_to_json(value, version, what)
    return value


def _struct_from_json(cls: type[Struct], value: dict[str, Any], version: int) -> Struct:
    struct = cls()
    left = set(value)
    for attr, field in zip(cls.__slots__, cls.SCHEMA, strict=True):
        if not has_version(field.versions, version):
            continue
        if field.name in value:
            left.discard(field.name)
            setattr(struct, attr, _from_json(cls, field.type, value[field.name], version))
        elif not has_version(field.tagged, version):
            raise ValueError(f"{cls.__name__} v{version}: {field.name} is missing")
    if left:
        raise ValueError(f"{cls.__name__} v{version} does not have {', '.join(sorted(left))}")
    return struct


def _from_json(owner: type[Struct], kind: str, value: Any, version: int) -> Any:
    if value is None:
        return None
    if kind.startswith("[]"):
        return [_from_json(owner, kind[2:], item, version) for item in value]
    if kind == "uuid":
        return urlsafe_b64decode(value + "==")
    if kind in ("bytes", "records"):
        return b64decode(value)
    struct = struct_class(owner, kind)
    return value if struct is None else _struct_from_json(struct, value, version)
