"""The default offset ledger: it leads every log, and counts in memory from the log's end."""

from __future__ import annotations

from kgw_core.spi.ledger import Leader, Leadership, LedgerContext, OffsetLedger
from kgw_core.spi.storage import LogStore, TopicPartition


class CountingLedger(OffsetLedger):
    """The ledger of a store that only one gateway can open: the next offset is the log's end."""

    name = "counting"

    def __init__(self, config: object = None) -> None:
        super().__init__(config)
        self._store: LogStore
        self._self = Leader(1)
        self._next: dict[TopicPartition, int] = {}

    async def open(self, context: LedgerContext) -> None:
        self._store = context.store
        self._self = Leader(context.node_id)

    async def lead(self, tp: TopicPartition) -> Leadership:
        start, end, epoch, size, *_ = await self._store.fence(tp, self._store.leader_epoch(tp))
        self._next[tp] = end
        return Leadership(start, end, epoch, size)

    def leader(self, tp: TopicPartition) -> Leader:
        return self._self

    def reserve(self, tp: TopicPartition, span: int) -> int:
        base = self._next[tp]
        self._next[tp] = base + span
        return base

    def committed(self, tp: TopicPartition, end: int) -> int:
        return end

    def released(self, tp: TopicPartition, base: int) -> None:
        if self._next.get(tp, base) > base:
            self._next[tp] = base

    def closed(self, tp: TopicPartition) -> None:
        self._next.pop(tp, None)
