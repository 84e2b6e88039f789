"""The slot of a group, as Kafka's ``partitionFor(groupId)``: the state keeps a group under its slot.

A gateway loads, fences and hands over a slot as a whole. The hash and the number of slots are part of the
stored data and never change. They are Kafka's for the partition of ``__consumer_offsets``: 50 partitions, and
``String.hashCode`` of the group id.
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
        if code == 1 << 31:  # Integer.MIN_VALUE has no absolute value
            code = 0
    return code % SLOTS
