"""The readable part of one partition's log: its offsets, reads, and trims."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from kgw_core.errors import FencedLeaderEpoch, OffsetOutOfRange, UnknownLeaderEpoch, UnknownTopicOrPartition
from kgw_core.log.ages import written_before
from kgw_core.log.failures import explained, is_certain
from kgw_core.log.waiting import Waiting, tell_changed
from kgw_core.records.runs import up_to
from kgw_core.spi.storage import Fenced, Run, TopicPartition
from kgw_core.topics.catalog import TopicState

if TYPE_CHECKING:
    from kgw_core.log.manager import LogManager
    from kgw_core.log.partition import PartitionLog

logger = logging.getLogger(__name__)


class ReadableLog(ABC):
    """The part of a log that readers see. Appends move its end, and trims its start.

    ``start`` (log start offset), ``high_watermark``, ``last_stable_offset`` and ``leader_epoch`` are Kafka's,
    and valid only while ``ready``. ``waiting`` are the fetches that wait for more.
    """

    __slots__ = (
        "_manager",
        "high_watermark",
        "kind",
        "leader_epoch",
        "ready",
        "start",
        "topic",
        "tp",
        "waiting",
    )

    def __init__(self, tp: TopicPartition, topic: TopicState[PartitionLog], manager: LogManager) -> None:
        self.tp = tp
        self.topic = topic
        self._manager = manager
        self.kind = manager.kind(topic.topic)
        self.ready = False
        self.start = 0
        self.high_watermark = 0
        self.leader_epoch = 0
        self.waiting: Waiting = {}

    @property
    def last_stable_offset(self) -> int:
        return self.high_watermark

    @abstractmethod
    async def open(self) -> None:
        """Open the log. :raises KafkaError: the topic was deleted, or the store failed."""

    @abstractmethod
    def lose(self, epoch: int) -> None:
        """Another gateway leads the log, in ``epoch``."""

    def _check_exists(self) -> None:
        if self.topic.deleted:
            raise UnknownTopicOrPartition(f"topic {self.tp.topic} was deleted")

    # -- reading

    def check_epoch(self, current_leader_epoch: int) -> None:
        """Compare the leader epoch that a client has (-1: none) with the log's (KIP-320).

        :raises FencedLeaderEpoch: the client's is older. :raises UnknownLeaderEpoch: it is newer.
        """
        if current_leader_epoch not in (-1, self.leader_epoch):
            if current_leader_epoch < self.leader_epoch:
                raise FencedLeaderEpoch(f"leader epoch is {self.leader_epoch}, not {current_leader_epoch}")
            raise UnknownLeaderEpoch(f"leader epoch is {self.leader_epoch}, not yet {current_leader_epoch}")

    def read_now(self, offset: int, max_bytes: int) -> Sequence[Run] | None:
        """Runs from ``offset`` on, at least one batch if there is one. Only for ready logs. None if the store
        has to be awaited: :meth:`read`.

        :raises OffsetOutOfRange: ``offset`` is below the log start offset or above the high watermark.
        :raises UnknownTopicOrPartition: the topic was deleted.
        """
        if not self.start <= offset < self.high_watermark:
            self._check_offset(offset)
            return ()
        if not self.kind.immediate:
            tails = self.kind.tails
            runs = tails.read(self.tp, offset, max_bytes) if tails is not None else None
            return up_to(runs, self.high_watermark) if runs is not None else None
        try:
            return self._manager.store.read_now(self.tp, offset, max_bytes, self.high_watermark)
        except Exception as error:
            raise explained(error, self.tp) from error

    async def read(self, offset: int, max_bytes: int) -> Sequence[Run]:
        """:meth:`read_now` for any store. Opens the log if it is not ready."""
        await self.open()
        there = self.read_now(offset, max_bytes)
        if there is not None:
            return there
        try:
            return await self._manager.store.read(self.tp, offset, max_bytes, self.high_watermark)
        except Exception as error:
            raise explained(error, self.tp) from error

    async def find_time(self, timestamp: int) -> int | None:
        """The base offset of the first batch with a record at or after ``timestamp`` (ms), or None."""
        try:
            return await self._manager.store.find_time(self.tp, timestamp)
        except Exception as error:
            raise explained(error, self.tp) from error

    async def find_max_time(self, start: int, end: int) -> int | None:
        """The base offset of the first batch with the largest max timestamp, of the batches that have offsets
        from ``start`` on and begin before ``end``; None if there is none."""
        try:
            return await self._manager.store.find_max_time(self.tp, start, end)
        except Exception as error:
            raise explained(error, self.tp) from error

    async def unchecked(self) -> int:
        """The offset below which the times in headers may differ from those of the records."""
        try:
            return (await self._manager.store.bounds(self.tp)).unchecked
        except Exception as error:
            raise explained(error, self.tp) from error

    async def written_before(self, time: int) -> int:
        """The offset below which everything was written before ``time`` (ms)."""
        try:
            return await written_before(self._manager.store, self.tp, self.start, self.high_watermark, time)
        except Exception as error:
            raise explained(error, self.tp) from error

    def _check_offset(self, offset: int) -> None:
        self._check_exists()
        if offset < self.start or offset > self.high_watermark:
            raise OffsetOutOfRange(
                f"offset {offset} of {self.tp} is not within {self.start} to {self.high_watermark}"
            )

    # -- trims

    async def trim(self, before: int) -> int:
        """Raise the log start offset to ``before`` (-1: the high watermark). Return the log start offset.

        :raises OffsetOutOfRange: ``before`` is above the high watermark.
        """
        await self.open()
        if before == -1:
            before = self.high_watermark
        if before > self.high_watermark or before < 0:
            raise OffsetOutOfRange(f"cannot delete up to {before}, high watermark is {self.high_watermark}")
        if before > self.start:
            await self._prepare_trim(before)
            try:
                async with self.changing():
                    await self._manager.store.trim(self.tp, before, self.leader_epoch)
            except Exception as error:
                if isinstance(error, Fenced):
                    self.lose(error.epoch)
                if not is_certain(error):
                    await self._look_where_it_starts()
                raise explained(error, self.tp) from error
            self._starts_at(before)
        return self.start

    @abstractmethod
    async def _prepare_trim(self, before: int) -> None:
        """Called before the store drops batches below ``before``."""

    def _starts_at(self, start: int) -> None:
        if start > self.start:  # another trim may have gone further meanwhile
            self.start = start
            self._manager.ledger.trimmed(self.tp, start)
            if self.kind.tails is not None:
                self.kind.tails.drop(self.tp, start)
            tell_changed(self.waiting)

    async def _look_where_it_starts(self) -> None:
        """A trim has failed, but may have been done. If the store cannot tell, the next trim corrects the
        start."""
        try:
            bounds = await self._manager.store.bounds(self.tp)
        except Exception as error:
            logger.warning("%s: the store cannot say where it starts: %r", self.tp, error)
        else:
            self._starts_at(min(bounds.start, self.high_watermark))

    def changing(self) -> AbstractAsyncContextManager[None]:
        """The lock of trims and replacements: they never overlap, and the log is not opened meanwhile."""
        return self._manager.changing.of(self.tp)

    def replaced(self, first: int, end: int) -> None:
        """Compaction has replaced the batches from ``first`` up to ``end``."""
        if self.kind.tails is not None:
            self.kind.tails.drop(self.tp, end)
