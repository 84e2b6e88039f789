"""What a storage plugin implements: one class, eight coroutines.

A :class:`LogStore` keeps record batches as opaque bytes. It knows topics, and for each partition a log:
batches back to back, each covering a span of offsets. Everything that Kafka means by a log (producers'
sequences, timestamps, transactions, long polls, retention, who may read what) is the core's business and
stays out of the store.

The contract. *The core promises:*

1. Every batch handed to :meth:`LogStore.append` is one whole, checked v2 record batch, with its base
   offset and leader epoch already stamped into its bytes, and offsets without gaps between batches.
2. At most one append of a gateway is in flight for a partition. Appends to several partitions overlap, and so
   do reads, and an append and a read of one partition. A trim and a replacement of one partition never do.
3. An append is never cancelled because a client went away. A read may be cancelled.
4. ``create_topic`` is called once for a topic id, ``update_topic`` and ``delete_topic`` only for
   a topic that the gateway knows to exist; these three of one gateway never overlap for one topic.
5. The bytes in :attr:`Batch.data` stay as they are until the append returns; after that only if
   :attr:`Batch.stable` is set. A store that keeps the bytes copies them first or checks that flag.

*The store promises:*

6. An append is all or nothing; with ``capabilities.durable`` it survives a crash once it has returned.
7. If the first base offset is not the log's end, append raises :class:`OffsetConflict` and writes
   nothing. With ``capabilities(topic).numbers_records`` base offsets go in as -1, the bytes say 0, and the
   base offset that append returns for each batch is the truth; what ``read`` returns carries it. Others may
   have appended in between.
8. ``read`` starts with the first batch whose last offset >= ``offset``, whole even if it exceeds
   ``max_bytes``; then whole batches until the next would exceed it or go beyond the upper bound
   ``below`` (None: the log's end); nothing if ``offset`` is the end;
   :class:`~kgw_core.errors.OffsetOutOfRange` outside ``start..end``. Without ``preserves_batches``,
   a batch read still has the header that was appended, except for base offset, leader epoch, length, CRC,
   codec and, under log append time, base timestamp: the core recovers producers from it. Its
   records have the same keys, values, headers and times.
9. After ``trim(tp, before)``, ``bounds().start == before`` exactly, though the batch that contains it
   stays readable. Trimming below the start changes nothing; above the end raises ``OffsetOutOfRange``.
10. ``end`` never goes back: not after everything is trimmed, not after reopening.
11. A topic or partition that is not there (deleted, or never made) raises
    :class:`~kgw_core.errors.UnknownTopicOrPartition`; a log is named by its topic's *id*, so an append in
    flight across delete and re-create never lands in the new log.
12. Anything that cannot be done now raises a :class:`~kgw_core.errors.KafkaError` (mostly
    ``KafkaStorageError``) if it is certain that nothing was written. After one that is not retriable the core
    appends the batches one by one, to find the one that cannot be. After any other exception of an append
    the core takes the outcome as unknown: it answers nobody, asks for the bounds and for the batch at
    the append's offset until the store can answer, and goes by that answer.
13. Once a call has raised, its work has happened or never will. A store that gives up waiting for its
    engine first makes sure that the writes it has sent can no longer land; until then the call goes on.
14. No method blocks the event loop: file and network I/O that can wait goes to a thread or is awaited.
15. ``write_time`` is what :attr:`Batch.write_time` said when the batch was appended, or a batch behind it
    that is kept in one piece of a MiB at most with it: never earlier. With ``capabilities.durable`` it
    survives reopening. A batch that :meth:`LogStore.replace` puts in another's place keeps its write time.
16. A log's epoch in ``bounds`` never goes back, and ``leader_epoch`` says the same without waiting.
17. After ``fence(tp, epoch)`` the log takes no append, trim or replacement of a lower epoch: they raise
    :class:`Fenced` and write nothing, also those that were on their way when it was called. A store that no
    second gateway can open needs no fence, and does not declare ``capabilities.fences``.
18. ``update_topic`` writes nothing and raises :class:`TopicConflict` if the topic is no longer as ``before``
    says: others have changed it.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple
from uuid import UUID

from kgw_core.errors import KafkaError
from kgw_core.records.segments import Run as Run
from kgw_core.spi.context import StoreContext
from kgw_core.spi.state import StateStore
from kgw_core.spi.topics import Topic as Topic
from kgw_core.spi.topics import TopicPartition as TopicPartition

API_VERSION = 2
"""The version of this interface; a plugin states the one it was written for."""

Buffer = bytes | bytearray | memoryview


class OffsetConflict(Exception):
    """The first batch of an append does not start at the log's end: another writer has appended.

    ``end`` is the log's true end, if the store knows it.
    """

    def __init__(self, expected: int, end: int) -> None:
        super().__init__(f"append starts at offset {expected}, the log ends at {end}")
        self.expected = expected
        self.end = end


class Fenced(Exception):
    """Another gateway leads the log, and nothing was written. ``epoch``: of the newest leader, -1: not
    known."""

    def __init__(self, tp: TopicPartition, epoch: int = -1) -> None:
        super().__init__(f"{tp} is led by another gateway, in epoch {epoch}")
        self.epoch = epoch


class TopicConflict(Exception):
    """A topic is not as it was when the change was made, and nothing was written. ``found``: as it is."""

    def __init__(self, found: Topic) -> None:
        super().__init__(f"topic {found.name} was changed by others")
        self.found = found


class Batch(NamedTuple):
    """One record batch on its way into the store.

    ``base_offset`` is -1 if the store numbers records. ``span`` is how many offsets it covers (last offset
    - base offset + 1), ``max_timestamp`` is in milliseconds since the epoch (below 0: none), ``data`` the
    whole batch. ``stable`` says that the bytes of ``data`` will not change after the append, so that the
    store may keep the view itself. ``write_time`` is when the core took it, in milliseconds since the epoch
    (-1: not known).
    """

    base_offset: int
    span: int
    max_timestamp: int
    data: Buffer
    stable: bool = False
    write_time: int = -1


class Bounds(NamedTuple):
    """Where a log starts and ends: ``start <= offset < end``; ``epoch`` of its leader, ``size`` in bytes.

    Batches below ``unchecked`` came from elsewhere, or from a core that believed their headers: their records
    may say other times than these, and may not be readable.
    """

    start: int
    end: int
    epoch: int = 0
    size: int = 0
    unchecked: int = 0


class Append(NamedTuple):
    """One item of :meth:`LogStore.append_many`. ``epoch``: of the leadership under which it is made."""

    tp: TopicPartition
    batches: Sequence[Batch]
    epoch: int = 0


class Read(NamedTuple):
    """One item of :meth:`LogStore.read_many`."""

    tp: TopicPartition
    offset: int
    max_bytes: int
    below: int | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store does beyond, or other than, the plain contract.

    ``durable``: an append that returned survives kill -9. ``immediate``: never waits; offers
    ``append_now`` and ``read_now``. ``numbers_records``: the engine chooses offsets. ``native_retention``:
    the engine deletes old data by itself. ``preserves_batches``: what is read is byte for byte what was
    appended; without it rule 8 says what survives. ``fences``: rule 17 is kept, so that several gateways may
    share the store.
    ``commit_scope``: with "store" one ``append_many`` is one commit of the whole store; the core puts the
    waiting appends of all logs into one call. With "partition" each log commits for itself; the core calls
    ``append`` for each log that has something to write, all at the same time, so that a slow log holds up no
    other.
    """

    durable: bool = False
    immediate: bool = False
    numbers_records: bool = False
    native_retention: bool = False
    preserves_batches: bool = True
    fences: bool = False
    commit_scope: Literal["store", "partition"] = "partition"


class LogStore(ABC):
    """Base class of storage plugins; the module's docstring is its contract.

    ``Config`` is a msgspec Struct that the ``[storage]`` table is checked against before the store is
    made; None takes no settings. ``name`` is what a config file selects by.
    """

    name: ClassVar[str]
    api_version: ClassVar[int] = API_VERSION
    Config: ClassVar[type[Any] | None] = None
    writers: ClassVar[int] = 4
    """How many ``append_many`` calls the core keeps under way at once, if ``commit_scope`` is "store"."""

    def __init__(self, config: Any = None) -> None:
        self.config = config

    async def open(self, context: StoreContext | None = None) -> None:
        """Called once before anything else; without a context in tests only.

        :raises Exception: whatever keeps the gateway from starting.
        """

    async def close(self) -> None:
        """Called once, after the last append has returned."""

    async def abandon(self) -> None:
        """Called instead of :meth:`close` if the gateway did not start, and so has served nobody: leave
        nothing behind that ``open`` has made, unless others use it by now. The default closes."""
        await self.close()

    async def ping(self) -> None:
        """Return if the store can serve. :raises KafkaError: why it cannot."""

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        """What holds for ``topic``; if it is None, for the store as a whole. The core asks when the store
        is open, and for a topic again when the topic was updated. Appends that the core began before may
        still come then. The suite asks before the store is open, too, to choose its tests."""
        return Capabilities()

    # -- topics

    @abstractmethod
    async def topics(self) -> Sequence[Topic]:
        """All topics."""

    @abstractmethod
    async def create_topic(self, topic: Topic) -> None:
        """Make ``topic`` with empty logs. :raises TopicAlreadyExists: the name is taken."""

    @abstractmethod
    async def update_topic(self, topic: Topic, before: Topic) -> None:
        """Replace the configs, and add partitions if ``topic`` has more. ``topic`` never has fewer.

        :raises TopicConflict: the topic is not as ``before`` says.
        """

    @abstractmethod
    async def delete_topic(self, topic_id: UUID) -> None:
        """Forget the topic and its logs."""

    # -- logs

    @abstractmethod
    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        """Append all of ``batches`` or none, under the leadership of ``epoch``; return each one's base
        offset.

        :raises Fenced: a newer leader has taken the log.
        :raises OffsetConflict: the first base offset is not the log's end.
        :raises UnknownTopicOrPartition: no such log.
        :raises KafkaError: the store cannot do it now, and nothing was written.
        """

    @abstractmethod
    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        """Batches from ``offset`` on, at most ``max_bytes`` but at least one if there is one, and none that
        goes beyond ``below``.

        :raises OffsetOutOfRange: ``offset`` is below the start or above the end.
        :raises UnknownTopicOrPartition: no such log.
        """

    @abstractmethod
    async def bounds(self, tp: TopicPartition) -> Bounds:
        """Where the log starts and ends now; changes nothing.

        :raises UnknownTopicOrPartition: no such log.
        """

    @abstractmethod
    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        """Drop what lies below ``before``; it becomes the start.

        :raises Fenced: a newer leader has taken the log. :raises OffsetOutOfRange: above the end.
        """

    # -- extras: correct as they are, faster if a store overrides them

    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        """When the batch that holds ``offset``, or the next one, was written (ms); -1: not known, or none.

        Records without a timestamp age by it. If the store does not know it (the default), they stay.

        :raises UnknownTopicOrPartition: no such log.
        """
        return -1

    async def fence(self, tp: TopicPartition, epoch: int) -> Bounds:
        """Let nobody write under a lower epoch any more (rule 17); where the log starts and ends then.

        :raises Fenced: a newer leader has taken the log.
        """
        return await self.bounds(tp)

    async def append_many(self, appends: Sequence[Append]) -> list[Sequence[int] | Exception]:
        """Append to several logs; every batch's base offset, or an error, for each, in order."""
        return await _each([self.append(tp, batches, epoch) for tp, batches, epoch in appends])

    async def read_many(self, reads: Sequence[Read]) -> list[Sequence[Run] | Exception]:
        """Read several logs; runs or an error for each, in order."""
        return await _each([self.read(*read) for read in reads])

    async def find_time(self, tp: TopicPartition, timestamp: int) -> int | None:
        """Base offset of the first batch with ``max_timestamp >= timestamp`` (ms), or None."""
        async for base, max_timestamp in self._scan(tp):
            if max_timestamp >= timestamp:
                return base
        return None

    async def find_max_time(
        self, tp: TopicPartition, start: int | None = None, end: int | None = None
    ) -> int | None:
        """Base offset of the batch with the largest max_timestamp (the first of several) among the batches
        that hold offsets from ``start`` on and begin below ``end`` (None: all); None if there are none."""
        found, largest = None, _BEFORE_ALL
        async for base, max_timestamp in self._scan(tp, start):
            if end is not None and base >= end:
                break
            if max_timestamp > largest:
                found, largest = base, max_timestamp
        return found

    def leader_epoch(self, tp: TopicPartition) -> int:
        """The epoch that :meth:`bounds` says, from the moment that :meth:`open`, :meth:`create_topic` or
        :meth:`update_topic` returned, without waiting. A store whose epochs are not always 0 (the default)
        overrides this."""
        return 0

    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch], epoch: int = 0
    ) -> bool:
        """Put ``batches`` in place of those covering ``first..last``, for compaction: all or nothing.

        ``first`` is the base offset of a stored batch and ``last`` the last offset of one, below the last
        batch of the log. The new ones lie within, in order, with gaps or none at all; a read in a gap starts
        with the next batch. Start, end and write times stay. False (the default): this store keeps
        everything.

        :raises Fenced: a newer leader has taken the log.
        """
        return False

    def state_store(self) -> StateStore | None:
        """A new StateStore on the same data, for the gateway's own state.

        It is opened after this store and closed before it. None (the default): the core keeps
        its state in an internal log.
        """
        return None

    async def backup(self, path: Path) -> None:
        """Write a copy of all data to ``path``; called on a store that is not open, while another is running.

        :raises KafkaError: it cannot be done; ``path`` is as it was.
        :raises NotImplementedError: this store has no backup (the default).
        """
        raise NotImplementedError("it has no backup")

    async def check(self) -> Sequence[str]:
        """What is wrong with the data, one line each; called on a store that is not open.

        :raises NotImplementedError: this store cannot check itself (the default).
        """
        raise NotImplementedError("it cannot check itself")

    def append_now(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> None:
        """:meth:`append` without waiting, at the offsets that the core gives; only where
        ``capabilities.immediate``."""
        raise NotImplementedError(f"{type(self).__name__} is not an immediate store")

    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        """:meth:`read` without waiting; only where ``capabilities.immediate``."""
        raise NotImplementedError(f"{type(self).__name__} is not an immediate store")

    async def _scan(self, tp: TopicPartition, start: int | None = None) -> AsyncIterator[tuple[int, int]]:
        """(base offset, max timestamp) of each batch that holds offsets from ``start`` on, in order."""
        bounds = await self.bounds(tp)
        offset = bounds.start if start is None else max(start, bounds.start)
        while offset < bounds.end:
            runs = await self.read(tp, offset, SCAN_BYTES)
            if not runs:
                return
            for run in runs:
                for base, max_timestamp in _headers(run.data):
                    yield base, max_timestamp
            offset = runs[-1].next_offset


SCAN_BYTES = 1 << 20
_BEFORE_ALL = -(1 << 63) - 1
_BASE_AND_LENGTH = struct.Struct(">qi")
_MAX_TIMESTAMP = struct.Struct(">q")


def _headers(data: Buffer) -> Iterator[tuple[int, int]]:
    at, end = 0, len(data)
    while at < end:
        base, length = _BASE_AND_LENGTH.unpack_from(data, at)
        yield base, _MAX_TIMESTAMP.unpack_from(data, at + 35)[0]
        at += 12 + length


async def _each(calls: Sequence[Any]) -> list[Any]:
    """Run ``calls`` at the same time; each one's result or exception, in order."""
    if len(calls) == 1:
        try:
            return [await calls[0]]
        except Exception as error:
            return [error]
    import anyio

    results: list[Any] = [KafkaError("not run")] * len(calls)

    async def run(index: int, call: Any) -> None:
        try:
            results[index] = await call
        except Exception as error:
            results[index] = error

    async with anyio.create_task_group() as tasks:
        for index, call in enumerate(calls):
            tasks.start_soon(run, index, call)
    return results
