"""Producer ids: numbers that no other producer of this cluster has or had.

Blocks are unique across restarts without anything stored: the upper bits are the start time in
milliseconds, the lower ones count. (2**63 ms / 2**20 leaves room until the year 2248.)
"""

from __future__ import annotations

from kgw_core.clock import Clock

_COUNT_BITS = 20


class ProducerIds:
    """Hands out ids in rising order, a million a millisecond of start time before it waits for none."""

    def __init__(self, clock: Clock) -> None:
        self._next = clock.time_ms() << _COUNT_BITS

    def next(self) -> int:
        """A new producer id, > 0."""
        producer_id = self._next
        self._next += 1
        return producer_id
