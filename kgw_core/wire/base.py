"""The base classes of messages: fields, structs, messages.

The classes in :mod:`kgw_core.wire.messages` are generated, slotted and plain. Each has a `SCHEMA`, one
:class:`Field` for each slot. The codecs are written from it.
"""

# No `from __future__ import annotations`: NamedTuple would compile each annotation again, 1 ms of import
# time.

from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Bytes that are written unchanged. A memoryview must have single bytes (format "B")."""

Parts: TypeAlias = Buffer | list[Buffer]
"""The value of a `records` field in a response: the bytes, or parts that are written back to back."""

ZERO_UUID: Final = b"\0" * 16
"""The uuid that stands for none."""

DEFAULT: Final[Any] = type("Default", (), {"__slots__": (), "__repr__": lambda self: "DEFAULT"})()
"""Marks a mutable default in a generated ``__init__``: the call makes a new empty list or struct."""


class Field(NamedTuple):
    """One field of a struct in Kafka's definition. Versions are in Kafka's notation ("3+", "0-2", "7")."""

    name: str
    """Kafka's own name, in lowerCamelCase."""
    type: str
    """int8 … float64, bool, string, bytes, records, uuid or a struct's class; [] before it for an array."""
    versions: str
    default: Any
    """None for null, () for an empty array, ... for an empty struct."""
    nullable: str = ""
    tagged: str = ""
    tag: int | None = None
    ignorable: bool = False
    """Left out without an error in versions that lack the field."""
    key: bool = False
    """In Kafka the array that holds this struct is a map by this field. Here it is a list."""
    classic: bool = False
    """Never in the compact form, not even in flexible versions (the client id of a request header)."""
    entity: str = ""
    """Kafka's type of the name in the field: topicName, groupId, brokerId …"""


class Struct:
    """A part of a message, or a message. It compares by value and is not hashable."""

    __slots__: tuple[str, ...] = ()

    SCHEMA: ClassVar[tuple[Field, ...]] = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, slot) == getattr(other, slot) for slot in type(self).__slots__)

    def __repr__(self) -> str:
        values = ", ".join(f"{slot}={_brief(getattr(self, slot))}" for slot in type(self).__slots__)
        return f"{type(self).__name__}({values})"


class Message(Struct):
    """A request, a response, a header, or data in Kafka's records."""

    __slots__ = ()

    NAME: ClassVar[str]
    """Kafka's name: "ProduceRequest"."""
    API_KEY: ClassVar[int | None]
    VERSIONS: ClassVar[tuple[int, int]]
    """The first and the last version with a codec."""
    FLEXIBLE_FROM: ClassVar[int | None]
    """The first version with tagged fields and compact lengths, or None."""
    LATEST_STABLE: ClassVar[int]
    """The newest version that Kafka does not mark unstable."""


def _brief(value: object) -> str:
    """A repr with long bytes cut, for the log."""
    if isinstance(value, bytes | bytearray | memoryview) and len(value) > 32:
        return f"<{len(value)} bytes>"
    if isinstance(value, memoryview):
        return repr(value.tobytes())
    return repr(value)
