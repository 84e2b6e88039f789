"""Kafka's LogManager: makes the logs of a gateway, and has their common parts."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel

from kgw_core.background import Background
from kgw_core.budget import UNLIMITED, Budget
from kgw_core.clock import Clock
from kgw_core.coalescer import Coalescer
from kgw_core.log import compaction, snapshots
from kgw_core.log.context import LogContext
from kgw_core.log.kind import LogKind
from kgw_core.log.opening import Openers
from kgw_core.log.partition import PartitionLog
from kgw_core.log.refused import RefusedSequences
from kgw_core.log.retention import CHECK_SECONDS, Retention
from kgw_core.log.snapshots import Checkpoints, Snapshots
from kgw_core.log.tail import TailCache
from kgw_core.log.upkeep import Throttle, each_log
from kgw_core.log.validator import CheckRecords
from kgw_core.log.waiting import FetchPurgatory
from kgw_core.log.writer import Writers
from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import Capabilities, LogStore, Topic, TopicPartition
from kgw_core.topics.catalog import TopicState
from kgw_core.topics.keyed_locks import KeyedLocks

PRODUCER_EXPIRATION_MS = 86_400_000
"""How long a partition remembers a silent producer (Kafka's ``producer.id.expiration.ms``)."""

UPKEEP_SECONDS = 600.0

AT_ONCE = 256
"""How many logs of a deleted topic are ended before the event loop serves others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The parts and the settings of a :class:`LogManager`.

    ``background`` runs work that no request waits for, and ``spawn`` starts a coroutine that nobody waits
    for. ``state`` stores data of logs if both state and store are durable. ``budget`` counts the bytes of
    appends that wait, ``answers`` those of records that are read or converted for an answer.

    ``max_inflated`` is the most bytes to which one batch may inflate. ``check_records`` is how closely
    produced records are checked. ``tail_cache`` is the bytes for the newest batches if the store has to wait.
    ``retention_interval`` and ``compaction_interval`` are the seconds between two checks.
    """

    store: LogStore
    ledger: OffsetLedger
    background: Background
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    max_inflated: int
    state: StateStore | None = None
    budget: Budget = field(default_factory=lambda: Budget(UNLIMITED))
    answers: Budget = field(default_factory=lambda: Budget(UNLIMITED))
    check_records: CheckRecords = "all"
    tail_cache: int = 0
    retention_interval: float = CHECK_SECONDS
    compaction_interval: float = compaction.CHECK_SECONDS


class LogManager:
    """All logs of the gateway, and their upkeep.

    ``context`` are the parts that each log uses. ``answers`` counts the bytes of records that are read or
    converted for an answer. ``coalescer`` is open while an append's outcome goes to all that wait for it.
    """

    def __init__(self, settings: LogSettings) -> None:
        store, ledger, state = settings.store, settings.ledger, settings.state
        background, spawn = settings.background, settings.spawn
        self.store = store
        self.clock: Clock = background.clock
        self.background = background
        self.answers = settings.answers
        self.tails = TailCache(settings.tail_cache) if settings.tail_cache > 0 else None
        self._kinds: dict[Capabilities, LogKind] = {}
        durable = state is not None and state.capabilities().durable and store.capabilities().durable
        self._checkpoints = (
            Checkpoints(state, (compaction.key, snapshots.key), background)
            if state is not None and durable
            else None
        )
        self.purgatory = FetchPurgatory()
        self.coalescer = Coalescer()
        self.writers = Writers(store, self.coalescer, spawn, background)
        # Refusals of one gateway say nothing to another one, which may lead the log now.
        own_state = state if durable and not ledger.shared else None
        self.refused = RefusedSequences(background, PRODUCER_EXPIRATION_MS, own_state)
        self.context = LogContext(
            store=store,
            ledger=ledger,
            clock=self.clock,
            background=background,
            spawn=spawn,
            budget=settings.budget,
            refused=self.refused,
            snapshots=Snapshots(self._checkpoints, background) if self._checkpoints is not None else None,
            writers=self.writers,
            openers=Openers(spawn),
            changing=KeyedLocks(),
            kind=self.kind,
            check_records=settings.check_records,
            max_inflated=settings.max_inflated,
        )
        self.logs: dict[PartitionLog, None] = {}
        """All logs that were made and whose topics were not deleted."""
        self.may_lead: Callable[[TopicPartition], bool] | None = None
        """Whether this gateway leads a partition or may lead it. None: it leads all."""
        self.retention = Retention(
            store, self.clock, self._own, settings.retention_interval, settings.max_inflated
        )
        self.compaction = compaction.Compaction(
            store,
            self._checkpoints,
            self.clock,
            self._own,
            settings.compaction_interval,
            settings.max_inflated,
        )

    def _own(self) -> Iterable[PartitionLog]:
        """The logs that this gateway leads."""
        may_lead = self.may_lead
        return self.logs if may_lead is None else [log for log in self.logs if may_lead(log.tp)]

    @property
    def snapshots(self) -> Snapshots | None:
        """The snapshots of the producers of all logs; None if nothing of logs is stored in the state."""
        return self.context.snapshots

    # -- logs

    def kind(self, topic: Topic) -> LogKind:
        """The kind of the topic's logs."""
        capabilities = self.store.capabilities(topic)
        kind = self._kinds.get(capabilities)
        if kind is None:
            kind = self._kinds[capabilities] = LogKind.of(capabilities, self.tails)
        return kind

    def make_log(self, topic: TopicState[PartitionLog], partition: int) -> PartitionLog:
        """The log of one partition, not opened yet."""
        tp = TopicPartition(topic.name, topic.id, partition)
        log = PartitionLog(tp, topic, self.kind(topic.topic), self.context)
        log.leader_epoch = self.store.leader_epoch(tp)
        self.logs[log] = None
        self.refused.made(tp)
        return log

    def topic_updated(self, topic: TopicState[PartitionLog]) -> None:
        """The topic was updated, and its capabilities may have changed: close logs of another kind."""
        kind = self.kind(topic.topic)
        for log in topic.partitions:
            if log.kind is not kind:
                log.change_kind()

    async def topic_deleted(self, topic: TopicState[PartitionLog]) -> None:
        """The topic was deleted: end its logs. Return when all appends to them are answered."""
        for number, log in enumerate(topic.partitions, 1):
            self.delete(log)
            if number % AT_ONCE == 0:
                await anyio.lowlevel.checkpoint()
        for log in topic.partitions:
            await log.all_answered()

    def delete(self, log: PartitionLog) -> None:
        """The topic was deleted: end the log, and drop its data."""
        log.deleted()
        self.logs.pop(log, None)
        if log.kind.tails is not None:
            log.kind.tails.drop(log.tp)
        self.compaction.forget(log.tp)
        if self._checkpoints is not None:
            self._checkpoints.forget(log.tp)
        self.refused.deleted(log.tp)

    # -- upkeep

    async def upkeep(self) -> None:
        """Run retention, compaction and the expiry of producers at intervals, until cancelled."""
        every = self.background.every
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(every, "retention", self.retention.interval, self.retention.check)
            tasks.start_soon(every, "compaction", lambda: self.compaction.interval, self.compaction.check)
            tasks.start_soon(every, "expiring producers", UPKEEP_SECONDS, self._forget_producers)

    @property
    def producer_expiration_ms(self) -> int:
        """How long silent producers are remembered, in ms."""
        return self.refused.expiration_ms

    def expire_producers_after(self, ms: int) -> None:
        """Remember silent producers for ``ms``, from the next check on."""
        self.refused.expiration_ms = ms

    async def _forget_producers(self) -> None:
        """Drop producers that have been silent for too long."""
        before = self.clock.time_ms() - self.producer_expiration_ms
        self.refused.expire(before)

        async def expire(log: PartitionLog) -> None:
            log.producers.expire(before)

        await each_log(list(self.logs), expire, Throttle())

    # -- the end

    async def drained(self) -> None:
        """Return when all queued appends are written, and the snapshots for the next start are stored."""
        self.writers.stop()
        await self.writers.finished()
        await self.refused.finish()
        if self._checkpoints is not None and self.snapshots is not None:
            await self._checkpoints.finish()
            await self.snapshots.finish(self.logs)
