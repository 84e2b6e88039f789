"""The stored records of groups and committed offsets, and their bytes.

A record replaces the value under its key, so a replay may read the keys in any order. A key begins with the
slot of its group (:mod:`kgw_core.groups.slots`): ``groups/<slot>/g/<group>`` and ``groups/<slot>/o/…``.
Values are msgpack arrays. A newer version may append fields; older versions ignore them.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from kgw_core.groups.slots import slot_of

PREFIX = b"groups/"
_GROUP, _OFFSET = b"g/", b"o/"
_SLOT = len("00/")

StoredState: TypeAlias = Literal["Empty", "CompletingRebalance", "Stable"]
"""The states of a stored group."""


class MemberRecord(msgspec.Struct, array_like=True, frozen=True):
    """A member of a generation. Timeouts are in ms. ``protocols`` are names and metadata, preferred first."""

    id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_ms: int
    rebalance_ms: int
    protocols: tuple[tuple[str, bytes], ...]
    assignment: bytes


class GroupRecord(msgspec.Struct, array_like=True, frozen=True):
    """A generation of a group. ``since`` is when the state began, in ms since the epoch."""

    state: StoredState
    generation: int
    protocol_type: str | None
    protocol_name: str | None
    leader: str | None
    since: int
    members: tuple[MemberRecord, ...]


class Committed(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A committed offset. ``time_ms`` is the time of the commit, ``expires_ms`` the end of the client's own
    retention time or -1, ``leader_epoch`` -1 if the client gave none, ``topic_id`` the topic's at the commit.
    """

    offset: int
    leader_epoch: int
    metadata: str
    time_ms: int
    expires_ms: int
    topic_id: bytes


class PutGroup(NamedTuple):
    """The group has this generation. Other members are removed."""

    group_id: str
    group: GroupRecord


class DropGroup(NamedTuple):
    """The group is deleted. Each of its offsets has a DropOffset of its own."""

    group_id: str


class PutOffset(NamedTuple):
    """An offset is committed. A group is created if there is none."""

    group_id: str
    topic: str
    partition: int
    committed: Committed


class DropOffset(NamedTuple):
    """A committed offset is dropped."""

    group_id: str
    topic: str
    partition: int


Record: TypeAlias = PutGroup | DropGroup | PutOffset | DropOffset

_LENGTH = struct.Struct(">H")
_PARTITION = struct.Struct(">i")
_encode = msgspec.msgpack.Encoder().encode
_decode_group = msgspec.msgpack.Decoder(GroupRecord).decode
_decode_offset = msgspec.msgpack.Decoder(Committed).decode


@lru_cache(maxsize=10_000)
def slot_prefix(group_id: str) -> bytes:
    """The prefix of all keys in the slot of this group."""
    return b"%b%02d/" % (PREFIX, slot_of(group_id))


def group_key(group_id: str) -> bytes:
    """The key of a group."""
    return b"%b%b%b" % (slot_prefix(group_id), _GROUP, group_id.encode())


def offset_prefix(group_id: str, topic: str) -> bytes:
    """The prefix of the keys of a group's offsets of a topic. The partition follows."""
    group = group_id.encode()
    prefix = slot_prefix(group_id)
    return b"%b%b%b%b%b" % (prefix, _OFFSET, _LENGTH.pack(len(group)), group, topic.encode())


def encode(record: Record) -> tuple[bytes, bytes | None]:
    """The key and the value of a record; None deletes the key."""
    kind = type(record)
    if kind is PutOffset or kind is DropOffset:
        key = offset_prefix(record.group_id, record.topic) + _PARTITION.pack(record.partition)  # type: ignore[union-attr]
        return key, _encode(record.committed) if kind is PutOffset else None  # type: ignore[union-attr]
    return group_key(record.group_id), _encode(record.group) if kind is PutGroup else None  # type: ignore[union-attr]


def decode(key: bytes, value: bytes) -> PutGroup | PutOffset:
    """The record that is stored as ``value`` under ``key``. Keys of release 0.1.0 have no slot.

    :raises ValueError: this is no record of a group.
    """
    rest = key.removeprefix(PREFIX)
    if not has_no_slot(key):
        rest = rest[_SLOT:]
    if rest.startswith(_GROUP):
        return PutGroup(rest[len(_GROUP) :].decode(), _decode_group(value))
    if not rest.startswith(_OFFSET):
        raise ValueError(f"no record of a group has the key {key!r}")
    at = len(_OFFSET)
    try:
        (length,) = _LENGTH.unpack_from(rest, at)
        (partition,) = _PARTITION.unpack_from(rest, len(rest) - _PARTITION.size)
    except struct.error:
        raise ValueError(f"no offset has the key {key!r}") from None
    at += _LENGTH.size
    if at + length + _PARTITION.size > len(rest):
        raise ValueError(f"no offset has the key {key!r}")
    group_id = rest[at : at + length].decode()
    topic = rest[at + length : -_PARTITION.size].decode()
    return PutOffset(group_id, topic, partition, _decode_offset(value))


def has_no_slot(key: bytes) -> bool:
    """Whether this is a key of release 0.1.0, which moves to the key of :func:`encode`."""
    return key.startswith((PREFIX + _GROUP, PREFIX + _OFFSET))
