"""All logs of one gateway: makes them, and holds what they share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from weakref import WeakSet

import anyio
import anyio.lowlevel

from kgw_core.clock import Clock
from kgw_core.log.partition import PartitionLog
from kgw_core.log.waiting import Wakes
from kgw_core.log.writer import Writers
from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.storage import LogStore, TopicPartition
from kgw_core.topics.catalog import TopicState

PRODUCER_EXPIRATION_MS = 86_400_000
"""How long a partition remembers a producer that is silent (Kafka's ``producer.id.expiration.ms``)."""

UPKEEP_SECONDS = 600.0


class LogManager:
    """Store, ledger, clock and writers, as each :class:`PartitionLog` uses them.

    ``spawn`` starts a coroutine that nobody waits for. ``max_inflated`` is what one batch may
    decompress to, in bytes, where the log has to look inside.
    """

    def __init__(
        self,
        store: LogStore,
        ledger: OffsetLedger,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        max_inflated: int,
    ) -> None:
        capabilities = store.capabilities()
        self.store = store
        self.ledger = ledger
        self.clock = clock
        self.spawn = spawn
        self.max_inflated = max_inflated
        self.immediate = capabilities.immediate
        self.numbers_records = capabilities.numbers_records
        self.wakes = Wakes()
        self.writers = Writers(store)
        self.logs: WeakSet[PartitionLog] = WeakSet()

    def make_log(self, topic: TopicState[PartitionLog], partition: int) -> PartitionLog:
        """The log of one partition, not opened yet."""
        log = PartitionLog(TopicPartition(topic.name, topic.id, partition), topic, self)
        self.logs.add(log)
        return log

    async def upkeep(self) -> None:
        """Forget producers that have not written for :data:`PRODUCER_EXPIRATION_MS`; runs until cancelled."""
        while True:
            await anyio.sleep(UPKEEP_SECONDS)
            before = self.clock.time_ms() - PRODUCER_EXPIRATION_MS
            for log in list(self.logs):
                log.producers.expire(before)
                await anyio.lowlevel.checkpoint()

    async def drained(self) -> None:
        """Return when nothing that was queued is left to write."""
        self.writers.stop()
        await self.writers.finished()
