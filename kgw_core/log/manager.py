"""Kafka's LogManager: makes the logs of a gateway, and has their common parts."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import anyio
import anyio.lowlevel

from kgw_core.background import Background, Faults, Tries
from kgw_core.budget import UNLIMITED, Budget
from kgw_core.clock import Clock
from kgw_core.coalescer import Coalescer
from kgw_core.errors import KafkaError
from kgw_core.log import compaction, snapshots
from kgw_core.log.kept import Kept
from kgw_core.log.kind import LogKind
from kgw_core.log.looking import CheckRecords
from kgw_core.log.openers import Openers
from kgw_core.log.partition import PartitionLog
from kgw_core.log.refused import RefusedSequences
from kgw_core.log.retention import CHECK_SECONDS, Retention
from kgw_core.log.snapshots import Snapshots
from kgw_core.log.tail import TailCache
from kgw_core.log.waiting import Wakes
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


class LogManager:
    """Store, ledger, clock and writers, as each :class:`PartitionLog` uses them.

    ``spawn`` starts a coroutine that nobody waits for. ``max_inflated`` is the most bytes to which one batch
    may inflate. ``retention_interval`` and ``compaction_interval`` are the seconds between two checks.
    ``budget`` counts appends that wait, ``answers`` records that are read or converted for an answer.
    ``state`` stores data of logs if both are durable. ``tail_cache`` is the bytes for the newest batches if
    the store has to wait. ``coalescer`` is open while an append's outcome goes to all that wait for it.
    ``background`` runs work that no request waits for. ``check_records`` is how closely appended records are
    checked.
    """

    def __init__(
        self,
        store: LogStore,
        ledger: OffsetLedger,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        max_inflated: int,
        retention_interval: float = CHECK_SECONDS,
        budget: Budget | None = None,
        compaction_interval: float = compaction.CHECK_SECONDS,
        state: StateStore | None = None,
        tail_cache: int = 0,
        answers: Budget | None = None,
        background: Background | None = None,
        check_records: CheckRecords = "all",
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.clock = clock
        self.spawn = spawn
        self.max_inflated = max_inflated
        self.check_records: CheckRecords = check_records
        self.budget = budget or Budget(UNLIMITED)
        self.answers = answers or Budget(UNLIMITED)
        self.tails = TailCache(tail_cache) if tail_cache > 0 else None
        self._kinds: dict[Capabilities, LogKind] = {}
        durable = state is not None and state.capabilities().durable and store.capabilities().durable
        self.background = background or Background(clock, spawn)
        self._kept = (
            Kept(state, (compaction.key, snapshots.key), self.background)
            if state is not None and durable
            else None
        )
        self.snapshots = Snapshots(self._kept, self.background) if self._kept is not None else None
        self.storing = Tries("storing what is appended", self.background)
        self.late = False
        """Whether the store has not answered an append in time, and has answered none since."""
        self.wakes = Wakes()
        self.coalescer = Coalescer()
        self.writers = Writers(store, self.coalescer, spawn)
        # Refusals of one gateway say nothing to another one, which may lead the log now.
        kept = state if durable and not ledger.shared else None
        self.refused = RefusedSequences(self.background, PRODUCER_EXPIRATION_MS, kept)
        self.opening, self.changing = KeyedLocks(), KeyedLocks()  # by the partition of each log
        self.openers = Openers(spawn)
        self.logs: dict[PartitionLog, None] = {}
        """All logs that were made and whose topics were not deleted."""
        self.resigned = False
        """Whether all leaderships were given up, as the gateway stops: no log is opened any more."""
        self.may_lead: Callable[[TopicPartition], bool] | None = None
        """Whether this gateway leads a partition or may lead it. None: it leads all."""
        self.retention = Retention(store, clock, self._own, retention_interval, max_inflated)
        self.compaction = compaction.Compaction(
            store, self._kept, clock, self._own, compaction_interval, max_inflated
        )

    def _own(self) -> Iterable[PartitionLog]:
        """The logs that this gateway leads."""
        may_lead = self.may_lead
        return self.logs if may_lead is None else [log for log in self.logs if may_lead(log.tp)]

    def kind(self, topic: Topic) -> LogKind:
        """The kind of the topic's logs."""
        capabilities = self.store.capabilities(topic)
        kind = self._kinds.get(capabilities)
        if kind is None:
            kind = self._kinds[capabilities] = LogKind.of(capabilities, self.tails)
        return kind

    def make_log(self, topic: TopicState[PartitionLog], partition: int) -> PartitionLog:
        """The log of one partition, not opened yet."""
        log = PartitionLog(TopicPartition(topic.name, topic.id, partition), topic, self)
        log.leader_epoch = self.store.leader_epoch(log.tp)
        self.logs[log] = None
        self.refused.made(log.tp)
        return log

    async def topic_deleted(self, topic: TopicState[PartitionLog]) -> None:
        """The topic was deleted: end its logs. Return when all appends to them are answered."""
        for number, log in enumerate(topic.partitions, 1):
            log.deleted()
            if number % AT_ONCE == 0:
                await anyio.lowlevel.checkpoint()
        for log in topic.partitions:
            await log.told()

    def forget(self, log: PartitionLog) -> None:
        """The log was deleted: drop its data."""
        self.logs.pop(log, None)
        if log.kind.tails is not None:
            log.kind.tails.drop(log.tp)
        self.compaction.forget(log.tp)
        if self._kept is not None:
            self._kept.forget(log.tp)
        self.refused.deleted(log.tp)

    def overdue(self, log: PartitionLog, error: KafkaError) -> None:
        """The store has not answered an append to ``log`` before a request's timeout."""
        self.late = True
        self.storing.failed(type(error)(f"{log.tp}: {error}"))

    def answered(self) -> None:
        """The store has answered an append."""
        self.late = False
        self.storing.succeeded()

    def snapshot(self, log: PartitionLog) -> None:
        """Store a snapshot of the log's producers in the background."""
        assert self.snapshots is not None
        self.snapshots.due(log)

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
        faults = Faults("partition(s)")
        for log in list(self.logs):
            try:
                log.producers.expire(before)
            except Exception as error:
                faults.add(log.tp, error)
            await anyio.lowlevel.checkpoint()
        faults.tell()

    async def drained(self) -> None:
        """Return when all queued appends are written, and the snapshots for the next start are stored."""
        self.writers.stop()
        await self.writers.finished()
        await self.refused.finish()
        if self._kept is not None and self.snapshots is not None:
            await self._kept.finish()
            await self.snapshots.finish(self.logs)
