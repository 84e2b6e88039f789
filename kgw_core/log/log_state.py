"""The state of one partition's log: its offsets, its leadership, its producers, and the appends that wait.

:class:`~kgw_core.log.partition.PartitionLog` is the log itself. The modules below it work on this state.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from kgw_core.errors import FencedLeaderEpoch, OffsetOutOfRange, UnknownLeaderEpoch, UnknownTopicOrPartition
from kgw_core.log.append_queue import AppendQueue, DeferredAppends
from kgw_core.log.context import LogContext
from kgw_core.log.kind import LogKind
from kgw_core.log.producers import Producers
from kgw_core.log.waiting import Waiting, tell_changed
from kgw_core.pending import Pending
from kgw_core.spi.storage import TopicPartition
from kgw_core.topics.catalog import TopicState


class LogState:
    """The state of one log. Not thread-safe; it is used on the event loop.

    ``start`` (log start offset), ``high_watermark``, ``last_stable_offset`` and ``leader_epoch`` are Kafka's,
    and valid only while ``ready``. ``waiting`` are the fetches that wait for more.
    """

    __slots__ = (
        "committed_to",
        "context",
        "deferred",
        "grown_to",
        "high_watermark",
        "immediate",
        "kind",
        "leader_epoch",
        "lost",
        "producers",
        "queue",
        "ready",
        "snapshot_offset",
        "snapshot_version",
        "start",
        "topic",
        "tp",
        "unsaved",
        "validating",
        "waiting",
    )

    def __init__(
        self, tp: TopicPartition, topic: TopicState[Any], kind: LogKind, context: LogContext
    ) -> None:
        self.tp = tp
        self.topic = topic
        self.kind = kind
        self.context = context
        self.ready = False
        self.start = 0
        self.high_watermark = 0
        self.leader_epoch = 0
        self.waiting: Waiting = {}
        self.lost = False
        """Whether another gateway has become the leader while the log was opened."""
        self.grown_to = self.committed_to = 0
        """The highest events of store and ledger while the log was closed."""

        self.queue = AppendQueue(context.budget)
        self.immediate = kind.immediate
        """Whether the store gets each batch at once. False while the outcome of an append is unknown."""
        self.deferred: DeferredAppends | None = None
        """The deferred appends; None if there are none."""
        self.validating = False
        """Whether they wait for a batch that is validated in a thread. Else they wait for the log to open."""

        self.producers = Producers()
        self.unsaved = 0
        """Bytes appended, or read when the log was opened, since the last snapshot of the producers."""
        self.snapshot_offset = -1
        """The offset of the last snapshot of the producers since the log was made."""
        self.snapshot_version: int | None = None
        """The version of that snapshot in the state; None if it is unknown."""

    @property
    def last_stable_offset(self) -> int:
        return self.high_watermark

    @property
    def settled_below(self) -> int:
        """The offset below which there is no batch in flight. A store that numbers records may report that
        the log has grown before it answers the append, so this may be below the high watermark."""
        flight = self.queue.in_flight
        return self.high_watermark if flight is None else min(flight.lowest, self.high_watermark)

    # -- checks

    def check_exists(self) -> None:
        """Return if the topic exists. :raises UnknownTopicOrPartition: it was deleted."""
        if self.topic.deleted:
            raise UnknownTopicOrPartition(f"topic {self.tp.topic} was deleted")

    def check_epoch(self, current_leader_epoch: int) -> None:
        """Compare the leader epoch that a client has (-1: none) with the log's (KIP-320).

        :raises FencedLeaderEpoch: the client's is older. :raises UnknownLeaderEpoch: it is newer.
        """
        if current_leader_epoch not in (-1, self.leader_epoch):
            if current_leader_epoch < self.leader_epoch:
                raise FencedLeaderEpoch(f"leader epoch is {self.leader_epoch}, not {current_leader_epoch}")
            raise UnknownLeaderEpoch(f"leader epoch is {self.leader_epoch}, not yet {current_leader_epoch}")

    def check_offset(self, offset: int) -> None:
        """Return if the log may be read from ``offset`` on.

        :raises OffsetOutOfRange: ``offset`` is below the log start offset or above the high watermark.
        :raises UnknownTopicOrPartition: the topic was deleted.
        """
        self.check_exists()
        if offset < self.start or offset > self.high_watermark:
            raise OffsetOutOfRange(
                f"offset {offset} of {self.tp} is not within {self.start} to {self.high_watermark}"
            )

    # -- changes by others

    def changing(self) -> AbstractAsyncContextManager[None]:
        """The lock of trims and replacements: they never overlap, and the log is not opened meanwhile."""
        return self.context.changing.of(self.tp)

    def replaced(self, first: int, end: int) -> None:
        """Compaction has replaced the batches from ``first`` up to ``end``."""
        if self.kind.tails is not None:
            self.kind.tails.drop(self.tp, end)

    def grown(self, end: int) -> None:
        """Other writers have appended up to ``end``."""
        if not self.ready:
            self.grown_to = max(end, self.grown_to)
        elif end > self.high_watermark:
            self.raise_high_watermark(self.context.ledger.committed(self.tp, end))

    def raise_high_watermark(self, high_watermark: int) -> None:
        """Batches of other writers are committed."""
        if not self.ready:
            self.committed_to = max(high_watermark, self.committed_to)
        elif high_watermark > self.high_watermark:
            self.high_watermark = high_watermark
            tell_changed(self.waiting)

    # -- the end

    async def all_answered(self) -> None:
        """Return when all appends are answered. The topic was deleted, so there are no new ones.

        A later answer could be a refusal of a batch whose successor a new topic has taken by then.
        """
        while True:
            items = self.queue.in_flight.items if self.queue.in_flight is not None else self.queue.waiting
            pending: Pending[Any]
            if items:
                pending = items[-1].pending
            elif self.deferred is not None:
                pending = self.deferred.over
            else:
                return
            with suppress(Exception):
                await pending.wait()
