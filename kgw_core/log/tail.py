"""The tail cache: the newest batches of each log in memory, for consumers at the end of a log.

Its size is limited over all logs. Past the limit, the log of the last append is cut to its share, and then
the logs without an append for the longest time are dropped.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from mmap import mmap
from typing import TYPE_CHECKING

from kgw_core.records.segments import Run, Segments
from kgw_core.spi.storage import Batch, Buffer, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

SHARE = 4
"""One log gets at most this part of the room, so that a busy log leaves room for others."""


class TailCache:
    """``room`` is the most bytes of all logs, ``size`` the bytes now, ``hits`` the number of answered
    reads."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.size = 0
        self.hits = 0
        self._tails: OrderedDict[TopicPartition, Segments] = OrderedDict()

    def append(self, tp: TopicPartition, base: int, batches: Iterable[Batch]) -> None:
        """Add ``batches`` that were written to the log at ``base``. Their bytes do not change any more.

        If there is no memory for them, the log is dropped from the cache."""
        tail = self._tails.pop(tp, None)
        if tail is None or tail.end != base:
            self.size -= tail.size if tail is not None else 0
            tail = Segments(base)
        self._tails[tp] = tail
        before = tail.size
        try:
            for batch in batches:
                if batch.stable and _shares(batch.data):
                    batch = batch._replace(stable=False)  # the tail copies it
                tail.append(*batch)
        except Exception as error:  # such as MemoryError: the batches are stored, and have to be acknowledged
            logger.warning("%s: its newest batches are not kept in memory: %r", tp, error)
            self.size -= before
            del self._tails[tp]
            return
        self.size += tail.size - before
        if self.size > self.room:
            self._shrink(tail)

    def _shrink(self, newest: Segments) -> None:
        self.size -= newest.drop_oldest(max(self.room // SHARE, 1))
        while self.size > self.room and len(self._tails) > 1:
            tp, tail = next(iter(self._tails.items()))
            if tail is newest:
                self._tails.move_to_end(tp)
                continue
            self.size -= tail.drop_oldest(max(0, tail.size - (self.size - self.room)))
            if not tail.size:
                del self._tails[tp]

    def read(self, tp: TopicPartition, offset: int, max_bytes: int) -> Sequence[Run] | None:
        """The result of the store's read, or None if the batch at ``offset`` is not in the cache."""
        tail = self._tails.get(tp)
        if tail is None or not tail.start <= offset < tail.end:
            return None
        self.hits += 1
        return tail.read(offset, max_bytes)

    def drop(self, tp: TopicPartition, before: int | None = None) -> None:
        """Drop batches below ``before``, the base offset of a batch; all batches if it is None."""
        tail = self._tails.get(tp)
        if tail is None:
            return
        if before is None or before >= tail.end:
            del self._tails[tp]
            self.size -= tail.size
        elif before > tail.start:
            size = tail.size
            tail.trim(before)
            self.size -= size - tail.size


def _shares(data: Buffer) -> bool:
    """Whether ``data`` is in a mapping with many other batches. A batch of a quiet log would keep the whole
    mapping in memory, uncounted, long after other logs have dropped their batches."""
    view = memoryview(data)
    return isinstance(view.obj, mmap) and len(view.obj) > 2 * len(view)
