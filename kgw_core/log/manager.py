"""All logs of one gateway: makes them, and holds what they share."""

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
"""How long a partition remembers a producer that is silent (Kafka's ``producer.id.expiration.ms``)."""

UPKEEP_SECONDS = 600.0

AT_ONCE = 256
"""Logs of a deleted topic that are ended before others get a turn on the event loop."""


class LogManager:
    """Store, ledger, clock and writers, as each :class:`PartitionLog` uses them.

    ``spawn`` starts a coroutine that nobody waits for. ``max_inflated`` is what one batch may
    decompress to, in bytes, where the log has to look inside. ``retention_interval`` (seconds) lies between
    two looks for records that may go, ``compaction_interval`` between two for logs to compact. ``budget`` is
    charged with the appends that wait. ``state`` is where what has to be remembered of logs is kept, where
    both are durable. ``tail_cache``: bytes for the newest batches, where the store has to wait.
    ``answers`` is charged with records that are read or converted for an answer. ``coalescer`` is open while
    an append's outcome is told to all who wait for it. ``background`` runs what no request waits for.
    ``check_records``: how closely the records of what is appended are looked at.
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
        """Whether the store has not answered an append in time, and none since."""
        self.wakes = Wakes()
        self.coalescer = Coalescer()
        self.writers = Writers(store, self.coalescer, spawn)
        self.refused = RefusedSequences(self.background, PRODUCER_EXPIRATION_MS, state if durable else None)
        self.opening, self.changing = KeyedLocks(), KeyedLocks()  # of logs, each by its partition
        self.openers = Openers(spawn)
        self.logs: dict[PartitionLog, None] = {}
        """All that were made and not forgotten."""
        self.may_lead: Callable[[TopicPartition], bool] | None = None
        """Whether this gateway leads a partition, or is to; None: all of them."""
        self.retention = Retention(store, clock, self._own, retention_interval, max_inflated)
        self.compaction = compaction.Compaction(
            store, self._kept, clock, self._own, compaction_interval, max_inflated
        )

    def _own(self) -> Iterable[PartitionLog]:
        """The logs that are this gateway's to look after."""
        may_lead = self.may_lead
        return self.logs if may_lead is None else [log for log in self.logs if may_lead(log.tp)]

    def kind(self, topic: Topic) -> LogKind:
        """What kind of log the topic's partitions are."""
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
        """The topic is gone: end its logs; return when all who have appended to them were told."""
        for number, log in enumerate(topic.partitions, 1):
            log.deleted()
            if number % AT_ONCE == 0:
                await anyio.lowlevel.checkpoint()
        for log in topic.partitions:
            await log.told()

    def forget(self, log: PartitionLog) -> None:
        """The log was deleted: so is what is remembered of it."""
        self.logs.pop(log, None)
        if log.kind.tails is not None:
            log.kind.tails.drop(log.tp)
        self.compaction.forget(log.tp)
        if self._kept is not None:
            self._kept.forget(log.tp)
        self.refused.deleted(log.tp)

    def overdue(self, log: PartitionLog, error: KafkaError) -> None:
        """The store has not answered an append to ``log`` in the time that a request waits for it."""
        self.late = True
        self.storing.failed(type(error)(f"{log.tp}: {error}"))

    def answered(self) -> None:
        """The store has answered an append again."""
        self.late = False
        self.storing.succeeded()

    def snapshot(self, log: PartitionLog) -> None:
        """Keep what is known of the log's producers, in the background."""
        assert self.snapshots is not None
        self.snapshots.due(log)

    async def upkeep(self) -> None:
        """What is due from time to time: retention, compaction, old producers; runs until cancelled."""
        every = self.background.every
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(every, "retention", self.retention.interval, self.retention.check)
            tasks.start_soon(every, "compaction", lambda: self.compaction.interval, self.compaction.check)
            tasks.start_soon(every, "expiring producers", UPKEEP_SECONDS, self._forget_producers)

    @property
    def producer_expiration_ms(self) -> int:
        """How long producers that are silent are remembered."""
        return self.refused.expiration_ms

    def expire_producers_after(self, ms: int) -> None:
        """Remember producers that are silent for ``ms`` from now on; it counts from the next look on."""
        self.refused.expiration_ms = ms

    async def _forget_producers(self) -> None:
        """Forget producers that have not written for as long as they are remembered."""
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
        """Return when nothing that was queued is left to write, and what the next start needs is kept."""
        self.writers.stop()
        await self.writers.finished()
        await self.refused.finish()
        if self._kept is not None and self.snapshots is not None:
            await self._kept.finish()
            await self.snapshots.finish(self.logs)
