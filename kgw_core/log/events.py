"""Passes the events of a store or a ledger on to the logs and the catalog."""

from __future__ import annotations

from collections.abc import Callable

from kgw_core.log.partition import PartitionLog
from kgw_core.spi.context import StoreEvents
from kgw_core.spi.ledger import LedgerEvents
from kgw_core.spi.storage import TopicPartition


class CoreEvents(StoreEvents, LedgerEvents):
    """Events are ignored until ``find`` (the log of a partition, or None) and ``on_topics`` are set, after
    the catalog is made."""

    def __init__(self) -> None:
        self.find: Callable[[TopicPartition], PartitionLog | None] = lambda _: None
        self.on_topics: Callable[[], object] = lambda: None

    def grown(self, tp: TopicPartition, end: int) -> None:
        log = self.find(tp)
        if log is not None:
            log.grown(end)

    def committed(self, tp: TopicPartition, high_watermark: int) -> None:
        log = self.find(tp)
        if log is not None:
            log.raise_high_watermark(high_watermark)

    def lost(self, tp: TopicPartition, epoch: int) -> None:
        log = self.find(tp)
        if log is not None:
            log.lose(epoch)

    def topics_changed(self) -> None:
        self.on_topics()
