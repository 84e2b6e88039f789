"""The default offset ledger: counts in memory, starting from the store's bounds."""

from __future__ import annotations

from kgw_core.spi.ledger import OffsetLedger, Position
from kgw_core.spi.storage import Bounds, TopicPartition


class CountingLedger(OffsetLedger):
    """Right for every store whose logs one gateway alone appends to: next offset = log end."""

    name = "counting"

    def __init__(self, config: object = None) -> None:
        super().__init__(config)
        self._next: dict[TopicPartition, int] = {}

    async def open(self, tp: TopicPartition, bounds: Bounds) -> Position:
        self._next[tp] = bounds.end
        return Position(bounds.start, bounds.end, bounds.end)

    def reserve(self, tp: TopicPartition, span: int) -> int:
        base = self._next[tp]
        self._next[tp] = base + span
        return base

    def committed(self, tp: TopicPartition, end: int) -> int:
        return end

    def released(self, tp: TopicPartition, base: int) -> None:
        if self._next.get(tp, base) > base:
            self._next[tp] = base

    def trimmed(self, tp: TopicPartition, start: int) -> None:
        pass

    def closed(self, tp: TopicPartition) -> None:
        self._next.pop(tp, None)
