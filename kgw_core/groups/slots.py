"""Which slot a group is in: all that is kept of a group stands under its slot in the state.

A slot is what a gateway loads, fences and hands over as a whole. The hash and the number of slots are part of
the data and never change: they are those by which Kafka finds the partition of ``__consumer_offsets`` (50 of
them, ``String.hashCode`` of the group id).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

SLOTS: Final = 50


@lru_cache(maxsize=10_000)
def slot_of(group_id: str) -> int:
    """The slot of a group, 0 to 49: Kafka's ``Utils.abs(groupId.hashCode()) % 50``."""
    code = 0
    units = group_id.encode("utf-16-be", "surrogatepass")
    for at in range(0, len(units), 2):
        code = (31 * code + (units[at] << 8 | units[at + 1])) & 0xFFFF_FFFF
    if code >= 1 << 31:
        code = (1 << 32) - code
        if code == 1 << 31:  # the one integer that has no absolute value
            code = 0
    return code % SLOTS
