"""Opens logs: gets the leadership with bounds and epoch, and reads the producers (Kafka's LogLoader)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol

import anyio.lowlevel

from kgw_core.errors import KafkaError
from kgw_core.log.ages import written_before
from kgw_core.log.producers import Appended, Producers
from kgw_core.log.snapshots import PIECE, Snapshots
from kgw_core.records.batch import RecordBatch, iter_batches
from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.storage import SCAN_BYTES, LogStore, TopicPartition
from kgw_core.topics.keyed_locks import KeyedLocks

logger = logging.getLogger(__name__)

STEP: Final = 16
"""How many logs begin to open before the event loop serves others."""


class Opened(NamedTuple):
    """The state of a log after opening. ``size`` is how many bytes were read for the producers."""

    start: int
    high_watermark: int
    leader_epoch: int
    producers: Producers
    size: int


async def opened(
    tp: TopicPartition,
    store: LogStore,
    ledger: OffsetLedger,
    snapshots: Snapshots | None,
    now: int,
    expiration_ms: int,
) -> Opened:
    """Lead the log by the ledger, which gives bounds and epoch. Read its producers from their snapshot, and
    from the headers of the batches after it.

    :param now: ms since the epoch.
    :param expiration_ms: how long silent producers are remembered.
    :raises Exception: from store and ledger.
    """
    start, end, epoch, _ = await ledger.lead(tp)
    producers, offset, size = Producers(), start, 0
    if snapshots is not None:
        producers, offset = await snapshots.load(tp, start, end)
    heard = LastHeard(now, now - expiration_ms)
    first = offset
    while offset < end:
        runs = await store.read(tp, offset, SCAN_BYTES, end)
        if not runs:
            raise RuntimeError(f"{tp} ends at {end}, but there is nothing at offset {offset}")
        for run in runs:
            size += len(run.data)
            for batch in iter_batches(run.data):
                if batch.producer_id >= 0 and not batch.is_control:
                    producers.put(
                        batch.producer_id,
                        batch.producer_epoch,
                        batch.base_sequence,
                        batch.last_sequence,
                        Appended(batch.base_offset, batch.max_timestamp if batch.log_append_time else -1),
                        heard.of(batch),
                    )
        offset = runs[-1].next_offset
    if heard.doubtful:
        written = await written_before(store, tp, first, end, heard.expired_before)
        heard.settle(producers, written)
    return Opened(start, end, epoch, producers, size)


async def take_over(producers: Producers, before: Producers) -> None:
    """Add the producers of a log that was open ``before`` to ``producers``, which were read. Others are
    served meanwhile."""
    for number, producer_id in enumerate(before.ids(), 1):
        producer = before.get(producer_id)
        if producer is not None:
            producers.take_over(producer_id, producer)
        if number % PIECE == 0:
            await anyio.lowlevel.checkpoint()


class LastHeard:
    """The last activity of producers, by the times of their batches, which are the clients'.

    A producer must not be dropped because its records have old times or none, and not be kept for ever
    because their times are in the future.
    """

    def __init__(self, now: int, expired_before: int) -> None:
        self.expired_before = expired_before
        self.doubtful: dict[int, RecordBatch] = {}
        """The last batch of each producer without a usable time."""
        self._now = now

    def of(self, batch: RecordBatch) -> int:
        """The time of the batch, or now if that is impossible."""
        if self.expired_before <= batch.max_timestamp <= self._now:
            self.doubtful.pop(batch.producer_id, None)
            return batch.max_timestamp
        self.doubtful[batch.producer_id] = batch
        return self._now

    def settle(self, producers: Producers, written: int) -> None:
        """Batches below offset ``written`` were written so long ago that their producers may be dropped."""
        for producer_id, batch in self.doubtful.items():
            producer = producers.get(producer_id)
            if producer is not None and batch.base_offset < written:
                producer.last_timestamp = min(batch.max_timestamp, self.expired_before - 1)


class OpenedLog(Protocol):
    """A log as :class:`Openers` sees it."""

    tp: TopicPartition

    async def open(self) -> None:
        """Open the log. :raises KafkaError: it cannot be opened."""


class Openers:
    """Opens logs for waiting appends: a few in each turn of the event loop, as one request may name
    thousands. A slow log delays no other. ``spawn`` starts a coroutine that nobody waits for."""

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self.resigned = False
        """Whether all leaderships were given up, as the gateway stops: no log is opened any more."""
        self._spawn = spawn
        self._locks = KeyedLocks()
        self._due: dict[OpenedLog, None] = {}
        self._starting = False

    def lock(self, tp: TopicPartition) -> AbstractAsyncContextManager[None]:
        """The lock of opening and resigning a log."""
        return self._locks.of(tp)

    def open(self, log: OpenedLog) -> None:
        """Open the log soon. The log itself gives a failure to its waiting appends."""
        self._due[log] = None
        if not self._starting:
            self._starting = True
            self._spawn(self._start())

    async def _start(self) -> None:
        try:
            while self._due:
                for log in list(islice(self._due, STEP)):
                    del self._due[log]
                    self._spawn(_open(log))
                await anyio.lowlevel.checkpoint()
        finally:
            self._starting = False


async def _open(log: OpenedLog) -> None:
    try:
        await log.open()
    except KafkaError as error:
        logger.warning("%s cannot be opened: %s", log.tp, error)
