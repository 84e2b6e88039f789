"""The offset ledger: who numbers records, and what is committed.

The core's default (:mod:`kgw_core.log.ledger`) counts in memory from the store's bounds, which is right
for every store that one gateway writes. A plugin brings its own where an engine numbers records itself
or several writers share a log.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from kgw_core.spi.storage import API_VERSION, Bounds, TopicPartition


class Position(NamedTuple):
    """``start``: log start offset. ``next``: the next offset to give out. ``committed``: high watermark."""

    start: int
    next: int
    committed: int


class OffsetLedger(ABC):
    """Numbers the records of partitions.

    Only :meth:`open` and :meth:`find_time` may wait. The others are called on the hot path: they never
    block and never await; a ledger that has to ask elsewhere takes blocks of offsets ahead of need.
    """

    name: ClassVar[str]
    api_version: ClassVar[int] = API_VERSION
    Config: ClassVar[type[Any] | None] = None

    def __init__(self, config: Any = None) -> None:
        self.config = config

    @abstractmethod
    async def open(self, tp: TopicPartition, bounds: Bounds) -> Position:
        """Begin or begin again with ``tp``. The store's bounds win: a ledger that is ahead is wound back."""

    @abstractmethod
    def reserve(self, tp: TopicPartition, span: int) -> int:
        """Take the next ``span`` offsets, tentatively; return the first."""

    @abstractmethod
    def committed(self, tp: TopicPartition, end: int) -> int:
        """The store holds everything below ``end``: return the new high watermark."""

    @abstractmethod
    def released(self, tp: TopicPartition, base: int) -> None:
        """The append at ``base`` failed: void it and everything reserved after it."""

    @abstractmethod
    def trimmed(self, tp: TopicPartition, start: int) -> None:
        """The log now starts at ``start``."""

    def closed(self, tp: TopicPartition) -> None:
        """The log is gone; what was kept of it may be dropped."""

    async def find_time(self, tp: TopicPartition, timestamp: int) -> int | None:
        """Base offset of the first batch with a record at or after ``timestamp`` (ms), if known."""
        return None
