"""How large the record of a group gets: it has to fit into a value of the state.

All members of a generation are in one record, with what each has said of itself and, once the group is
stable, with what is assigned to it. Sizes here are upper bounds, so that nobody has to encode to compare.
"""

from __future__ import annotations

from typing import Final, Protocol

from kgw_core.groups.records import GroupRecord
from kgw_core.spi.state import MOST_VALUE

MOST_GROUP_ID: Final = 32_767
"""Bytes of a group's id, as in Kafka's records; so every key that has one is short enough for the state."""

MOST_TEXT: Final = 32_767
"""Bytes of a text that an answer can tell."""

TOO_LARGE: Final = f"its record would be larger than {MOST_VALUE} bytes"
"""Why a group does not take something."""

_FIELD: Final = 5  # what msgpack needs beside a text, bytes or an array
_FIELDS: Final = 128  # numbers, state and arrays of a member or a group


class Said(Protocol):
    """What a member has said of itself."""

    @property
    def id(self) -> str: ...
    @property
    def instance_id(self) -> str | None: ...
    @property
    def client_id(self) -> str: ...
    @property
    def client_host(self) -> str: ...
    @property
    def protocols(self) -> tuple[tuple[str, bytes], ...]: ...


def member_size(member: Said) -> int:
    """Bytes that a member takes, without its assignment."""
    said = sum(_text(name) + 2 * _FIELD + len(data) for name, data in member.protocols)
    texts = (member.id, member.instance_id, member.client_id, member.client_host)
    return _FIELDS + sum(map(_text, texts)) + said


def fits(members: int, *texts: str | None) -> bool:
    """Whether a group's record fits whose members take so many bytes and that has these texts."""
    return _FIELDS + members + sum(map(_text, texts)) <= MOST_VALUE


def record_fits(record: GroupRecord) -> bool:
    """Whether this record fits."""
    members = sum(member_size(member) + len(member.assignment) for member in record.members)
    return fits(members, record.protocol_type, record.protocol_name, record.leader)


def shortened(text: str, most: int = MOST_TEXT) -> str:
    """As much of the beginning as takes at most so many bytes."""
    if 4 * len(text) <= most:
        return text
    return text.encode()[:most].decode(errors="ignore")


def _text(text: str | None) -> int:
    return _FIELD + 4 * len(text or "")
