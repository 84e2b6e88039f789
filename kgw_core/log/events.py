"""Passes the events of a store or a ledger on to the logs and the catalog."""

from __future__ import annotations

from collections.abc import Callable

from kgw_core.log.partition import PartitionLog
from kgw_core.spi.context import StoreEvents
from kgw_core.spi.ledger import LedgerEvents
from kgw_core.spi.storage import TopicPartition


class CoreEvents(StoreEvents, LedgerEvents):
    """Events of logs are ignored until :meth:`listen`, as no log is open before. An event of topics is passed
    on then."""

    def __init__(self) -> None:
        self._find: Callable[[TopicPartition], PartitionLog | None] = lambda _: None
        self._on_topics: Callable[[], object] | None = None
        self._early = False  # whether topics have changed before listen()

    def listen(
        self, find: Callable[[TopicPartition], PartitionLog | None], on_topics: Callable[[], object]
    ) -> None:
        """Pass events on, when the catalog is loaded. ``find`` returns the log of a partition, or None."""
        self._find, self._on_topics = find, on_topics
        if self._early:  # they may have changed after the catalog had read them
            on_topics()

    def grown(self, tp: TopicPartition, end: int) -> None:
        log = self._find(tp)
        if log is not None:
            log.grown(end)

    def committed(self, tp: TopicPartition, high_watermark: int) -> None:
        log = self._find(tp)
        if log is not None:
            log.raise_high_watermark(high_watermark)

    def lost(self, tp: TopicPartition, epoch: int) -> None:
        log = self._find(tp)
        if log is not None:
            log.lose(epoch)

    def topics_changed(self) -> None:
        if self._on_topics is None:
            self._early = True
        else:
            self._on_topics()
