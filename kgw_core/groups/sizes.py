"""The size of a group's record, which has to fit into one value of the state.

One record holds all members of a generation with their metadata and, once the group is stable, their
assignments. Sizes here are upper bounds, so that no record is encoded only to learn its size.
"""

from __future__ import annotations

from typing import Final, Protocol

from kgw_core.groups.records import GroupRecord
from kgw_core.spi.state import MOST_VALUE

MOST_GROUP_ID: Final = 32_767
"""The most bytes of a group id, as in Kafka's records. A key with a group id is then short enough for the
state."""

MOST_TEXT: Final = 32_767
"""The most bytes of a text in an answer."""

TOO_LARGE: Final = f"its record would be larger than {MOST_VALUE} bytes"
"""The reason in the error messages."""

_FIELD: Final = 5  # msgpack's overhead for a text, bytes or an array
_FIELDS: Final = 128  # numbers, state and arrays of a member or a group


class MemberFields(Protocol):
    """The fields of a member that count."""

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


def member_size(member: MemberFields) -> int:
    """The bytes of a member without its assignment."""
    protocols = sum(_text(name) + 2 * _FIELD + len(data) for name, data in member.protocols)
    texts = (member.id, member.instance_id, member.client_id, member.client_host)
    return _FIELDS + sum(map(_text, texts)) + protocols


def fits(members: int, *texts: str | None) -> bool:
    """Whether a group's record fits that has ``members`` bytes of members and these texts."""
    return _FIELDS + members + sum(map(_text, texts)) <= MOST_VALUE


def record_fits(record: GroupRecord) -> bool:
    """Whether this record fits."""
    members = sum(member_size(member) + len(member.assignment) for member in record.members)
    return fits(members, record.protocol_type, record.protocol_name, record.leader)


def shortened(text: str, most: int = MOST_TEXT) -> str:
    """The longest beginning of ``text`` that takes at most ``most`` bytes in UTF-8."""
    if 4 * len(text) <= most:
        return text
    return text.encode()[:most].decode(errors="ignore")


def _text(text: str | None) -> int:
    return _FIELD + 4 * len(text or "")
