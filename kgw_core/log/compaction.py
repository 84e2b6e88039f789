"""Compaction (Kafka's LogCleaner): logs with ``cleanup.policy=compact`` keep the last record of each key.

A pass over one log reads it twice: first the new batches since the last pass, for the last offset of each
key; then from the log's start, replacing batches that lose records (:mod:`kgw_core.log.cleaning`), piece by
piece. So a crash or a stop leaves a correct log, which is only less compact. The state has the progress of
the passes.

There are no segments here, so no record waits until its segment is rolled; only the log's last batch is
spared. Records younger than ``min.compaction.lag.ms`` are neither removed nor remove others. A pass begins
when more than ``min.cleanable.dirty.ratio`` of the log's bytes are new, or when the first new record is older
than ``max.compaction.lag.ms``. Records without a time are as old as their write time
(:mod:`kgw_core.log.ages`).
"""

from __future__ import annotations

import logging
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from kgw_core import workers
from kgw_core.clock import Clock
from kgw_core.errors import KafkaError, OffsetOutOfRange
from kgw_core.log.ages import Ages
from kgw_core.log.cleaning import MAP_BYTES, LastOffsets, cleaned
from kgw_core.log.partition import PartitionLog
from kgw_core.log.rewrite import is_large
from kgw_core.log.snapshots import Checkpoints
from kgw_core.log.upkeep import TURN_SECONDS, Throttle, each_batch, each_log
from kgw_core.records.batch import RecordBatch, iter_batches
from kgw_core.spi.storage import Batch, Fenced, LogStore, Run, TopicPartition
from kgw_core.topics.configs import TopicConfigs

logger = logging.getLogger(__name__)

CHECK_SECONDS = 15.0
"""The default of ``topics.compaction_check_interval``, Kafka's ``log.cleaner.backoff.ms``."""

PIECE = 256 << 10
"""How many bytes are read, and replaced, at a time."""

MANY = 200
"""A batch with more records is compacted in a thread, also if it is small."""

_FOREVER = (1 << 63) - 1
_PREFIX = b"compaction/"
_FORMAT = 1
_STATE = struct.Struct(">Bqqqq")

T = TypeVar("T")


class Progress(NamedTuple):
    """The progress of a log: it was compacted up to ``cleaned``, by keys up to ``mapped``, and had ``size``
    bytes from ``start`` to ``cleaned``."""

    cleaned: int = 0
    mapped: int = 0
    size: int = 0
    start: int = 0

    def still(self, start: int) -> int:
        """About the bytes up to ``cleaned`` now that the log begins at ``start``, as retention may have
        removed some."""
        if start <= self.start:
            return self.size
        return self.size * max(self.cleaned - start, 0) // max(self.cleaned - self.start, 1)


class Mapped(NamedTuple):
    """The result of the first reading. ``size`` is the bytes from its begin to ``mapped``."""

    latest: LastOffsets
    cleaned: int
    mapped: int
    size: int


class Compaction:
    """Compacts the logs that ``logs`` returns. ``interval`` is the seconds between two :meth:`check`.

    ``checkpoints`` stores the progress if the store is durable. Without it every start begins anew.
    """

    def __init__(
        self,
        store: LogStore,
        checkpoints: Checkpoints | None,
        clock: Clock,
        logs: Callable[[], Iterable[PartitionLog]],
        interval: float,
        max_inflated: int,
        map_bytes: int = MAP_BYTES,
    ) -> None:
        self._store = store
        self._checkpoints = checkpoints
        self._clock = clock
        self._logs = logs
        self.interval = interval
        self._max_inflated = max_inflated
        self._map_bytes = map_bytes
        self._progress: dict[TopicPartition, Progress] = {}
        self._unreadable: set[TopicPartition] = set()  # logs for which a log line was written
        self._keeps_everything = False
        self._throttle = Throttle(TURN_SECONDS)  # others get as long

    async def check(self) -> None:
        """Check all logs once. :raises PartlyFailed: some logs failed; the others were checked."""
        await each_log(self._compacted(), self._check_log, self._throttle)

    def _compacted(self) -> Iterator[PartitionLog]:
        for log in list(self._logs()):
            if self._keeps_everything:
                return
            if log.topic.configs.compact:
                yield log

    def forget(self, tp: TopicPartition) -> None:
        """The log was deleted."""
        self._progress.pop(tp, None)
        self._unreadable.discard(tp)

    # -- one log

    async def _check_log(self, log: PartitionLog) -> None:
        if log.topic.deleted:
            return
        configs = log.topic.configs
        bounds = await self._store.bounds(log.tp)
        progress = await self._known(log)
        if max(progress.mapped, bounds.start) >= bounds.end:
            return
        clean = min(progress.still(bounds.start), bounds.size)
        dirty = max(bounds.size - clean, 1)  # there are new bytes, whatever the estimate is
        due = await self._is_overdue(log, max(progress.mapped, bounds.start), configs)
        if not due and dirty <= configs.min_cleanable_dirty_ratio * bounds.size:
            return
        await log.open()
        mapped = await self._map(log, max(progress.cleaned, log.start), bounds.unchecked, configs)
        if mapped.mapped <= progress.mapped:
            return
        whole = clean + mapped.size
        if not due and mapped.size <= configs.min_cleanable_dirty_ratio * whole:
            return
        start = log.start
        size = await self._clean(log, mapped, configs)
        if size is not None:
            await self._put(log, Progress(mapped.cleaned, mapped.mapped, size, start))

    async def _is_overdue(self, log: PartitionLog, offset: int, configs: TopicConfigs) -> bool:
        """Whether the first record from ``offset`` on is older than ``max.compaction.lag.ms``."""
        if configs.max_compaction_lag_ms >= _FOREVER:
            return False
        for run in await self._store.read(log.tp, offset, 1):
            for batch in iter_batches(run.data):
                first = batch.max_timestamp if batch.has_delete_horizon else batch.base_timestamp
                if first < 0:
                    first = batch.max_timestamp
                if first < 0:
                    first = await self._store.write_time(log.tp, batch.base_offset)
                return 0 <= first < self._clock.time_ms() - configs.max_compaction_lag_ms
        return False

    async def _map(self, log: PartitionLog, offset: int, unchecked: int, configs: TopicConfigs) -> Mapped:
        """The last offset of each key from ``offset`` on, up to records that are too young."""
        latest = LastOffsets(self._map_bytes)
        end = log.high_watermark
        ages = Ages(
            self._store,
            log.tp,
            offset,
            end,
            unchecked=unchecked,
            young_from=self._clock.time_ms() - configs.min_compaction_lag_ms + 1,
            max_inflated=self._max_inflated,
        )
        mapped = cleaned_to = offset
        size = 0
        async for batch in self._batches(log, offset, end):
            if latest.full or (configs.min_compaction_lag_ms > 0 and not await ages.is_old(batch)):
                return Mapped(latest, mapped, mapped, size)
            try:
                await self._working(batch, partial(latest.add, batch, self._max_inflated))
            except KafkaError as error:
                self._tell_unreadable(log, batch, error)  # its keys remove nothing
            size += batch.size
            cleaned_to, mapped = batch.base_offset, batch.next_offset
        # all was read: the last batch stays unchanged, and counts as new in the next pass
        return Mapped(latest, cleaned_to, mapped, size)

    async def _clean(self, log: PartitionLog, mapped: Mapped, configs: TopicConfigs) -> int | None:
        """Compact the log below ``mapped.cleaned``. Return its new size, or None if the store cannot
        replace."""
        offset, size = log.start, 0
        while offset < mapped.cleaned:
            epoch = log.leader_epoch
            offset, runs = await self._read(log, offset)
            batches = [
                batch
                for run in runs
                for batch in iter_batches(run.data)
                if batch.next_offset <= mapped.cleaned
            ]
            if not batches:
                break
            left: list[bytes | bytearray | None] = []
            for batch in batches:
                left.append(await self._cleaned(log, batch, mapped.latest, configs))
                await self._throttle.rest()
            async with log.changing():
                if log.leader_epoch != epoch or log.start > max(offset, batches[0].base_offset):
                    continue  # the log was trimmed meanwhile, or another leader may have compacted it
                if not await self._replace(log, batches, left):
                    return None
            for batch, data in zip(batches, left, strict=True):
                if data is not None:
                    size += len(data) or batch.size
            offset = batches[-1].next_offset
        return size

    async def _cleaned(
        self, log: PartitionLog, batch: RecordBatch, latest: LastOffsets, configs: TopicConfigs
    ) -> bytes | bytearray | None:
        while not log.ready:  # an append has failed meanwhile: opening reads the producers again
            await log.open()
        keep_empty = batch.producer_id >= 0 and log.producers.may_end_with(
            batch.producer_id, batch.producer_epoch, batch.last_sequence
        )
        work = partial(
            cleaned,
            batch,
            latest,
            now=self._clock.time_ms(),
            delete_retention_ms=configs.delete_retention_ms,
            keep_empty=keep_empty,
            max_inflated=self._max_inflated,
        )
        try:
            return await self._working(batch, work)
        except KafkaError as error:
            self._tell_unreadable(log, batch, error)
            return b""

    def _tell_unreadable(self, log: PartitionLog, batch: RecordBatch, error: KafkaError) -> None:
        if log.tp not in self._unreadable and not log.topic.deleted:
            self._unreadable.add(log.tp)
            logger.warning(
                "%s: the batch at offset %d cannot be read, so compaction leaves it, and others like it, "
                "as it is: %s",
                log.tp,
                batch.base_offset,
                error,
            )

    async def _replace(
        self, log: PartitionLog, batches: list[RecordBatch], left: list[bytes | bytearray | None]
    ) -> bool:
        """Replace the batches from the first that changes to the last that does."""
        changed = [index for index, data in enumerate(left) if data != b""]
        if not changed:
            return True
        first, last = changed[0], changed[-1]
        new = []
        for batch, data in zip(batches[first : last + 1], left[first : last + 1], strict=True):
            if data is not None:
                kept = RecordBatch(data or bytes(batch.data))
                span = batch.last_offset_delta + 1
                new.append(Batch(batch.base_offset, span, kept.max_timestamp, kept.data, True))
        first_offset, last_offset = batches[first].base_offset, batches[last].last_offset
        try:
            replaced = await self._store.replace(log.tp, first_offset, last_offset, new, log.leader_epoch)
        except Fenced as error:
            log.lose(error.epoch)
            raise
        if not replaced:
            self._keeps_everything = True
            logger.warning(
                "storage %s cannot replace records: topics with cleanup.policy=compact keep everything",
                self._store.name,
            )
            return False
        log.replaced(batches[first].base_offset, batches[last].next_offset)
        return True

    # -- progress

    async def _known(self, log: PartitionLog) -> Progress:
        progress = self._progress.get(log.tp)
        if progress is None:
            entry = await self._checkpoints.state.get(key(log.tp)) if self._checkpoints is not None else None
            progress = Progress()
            if entry is not None and entry.value[0] == _FORMAT and len(entry.value) == _STATE.size:
                progress = Progress(*_STATE.unpack(entry.value)[1:])
            if not log.topic.deleted:
                self._progress[log.tp] = progress
        return progress

    async def _put(self, log: PartitionLog, progress: Progress) -> None:
        if log.topic.deleted:
            return
        self._progress[log.tp] = progress
        if self._checkpoints is not None:
            await self._checkpoints.put(key, {log: _STATE.pack(_FORMAT, *progress)})

    # -- small steps

    def _batches(self, log: PartitionLog, offset: int, end: int) -> AsyncIterator[RecordBatch]:
        async def read(offset: int) -> Sequence[Run]:
            return (await self._read(log, offset))[1]

        return each_batch(read, offset, end, self._throttle)

    async def _read(self, log: PartitionLog, offset: int) -> tuple[int, Sequence[Run]]:
        """The runs from ``offset`` on, or from the log's start if that is later; and this offset."""
        while True:
            offset = max(offset, log.start)
            try:
                return offset, await self._store.read(log.tp, offset, PIECE)
            except OffsetOutOfRange:
                async with log.changing():  # a trim in flight tells the log when it is done
                    pass
                if offset >= log.start:
                    raise

    async def _working(self, batch: RecordBatch, work: Callable[[], T]) -> T:
        if batch.record_count > MANY or is_large(batch):
            return await workers.in_thread(work)
        return work()


def key(tp: TopicPartition) -> bytes:
    """The key of a log's progress in the state."""
    return _PREFIX + tp.topic_id.bytes + tp.partition.to_bytes(4, "big")
