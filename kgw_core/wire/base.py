"""What every message class is made of: fields, structs, messages.

The classes in :mod:`kgw_core.wire.messages` are generated, slotted and plain. Each carries its `SCHEMA`, one
:class:`Field` for each slot, from which the codecs are written.
"""

# No `from __future__ import annotations`: NamedTuple would compile each annotation anew, 1 ms of import time.

from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Bytes to be written as they are. A memoryview must be one of single bytes (format "B")."""

Parts: TypeAlias = Buffer | list[Buffer]
"""What a `records` field of a response may hold: the bytes, or parts of them to be written back to back."""

ZERO_UUID: Final = b"\0" * 16
"""The uuid that stands for none."""

DEFAULT: Final[Any] = type("Default", (), {"__slots__": (), "__repr__": lambda self: "DEFAULT"})()
"""Stands in a generated ``__init__`` for a default that has to be made anew: an empty list, an empty
struct.
"""


class Field(NamedTuple):
    """One field of a struct, as Kafka's definition has it. Versions are in Kafka's notation ("3+", "0-2",
    "7").
    """

    name: str
    """Kafka's own name, in lowerCamelCase."""
    type: str
    """int8 … float64, bool, string, bytes, records, uuid, the name of a struct's class, or [] and one of
    these.
    """
    versions: str
    default: Any
    """None for null, () for an empty array, ... for an empty struct."""
    nullable: str = ""
    tagged: str = ""
    tag: int | None = None
    ignorable: bool = False
    """Left out without complaint where a version has no place for it."""
    key: bool = False
    """In Kafka the array that holds this struct is a map by this field. Here it is a list."""
    classic: bool = False
    """Never in the compact form, not even in flexible versions (the client id of a request header)."""
    entity: str = ""
    """What the field names, where Kafka says it: topicName, groupId, brokerId …"""


class Struct:
    """A part of a message, or a message. Compares by value; is not hashable."""

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
    """A request, a response, a header, or data that Kafka keeps in records."""

    __slots__ = ()

    NAME: ClassVar[str]
    """Kafka's name: "ProduceRequest"."""
    API_KEY: ClassVar[int | None]
    VERSIONS: ClassVar[tuple[int, int]]
    """The first and the last version there is a codec for."""
    FLEXIBLE_FROM: ClassVar[int | None]
    """The first version with tagged fields and compact lengths, or None."""
    LATEST_STABLE: ClassVar[int]
    """The newest version that Kafka does not call unstable."""


def _brief(value: object) -> str:
    """A repr, with long bytes cut: messages are logged."""
    if isinstance(value, bytes | bytearray | memoryview) and len(value) > 32:
        return f"<{len(value)} bytes>"
    if isinstance(value, memoryview):
        return repr(value.tobytes())
    return repr(value)
