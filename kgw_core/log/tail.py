"""The newest batches of each log, in memory: consumers at the end of a log need not wait for the store.

Bounded over all logs. Where there is too much, the log that has just been written to is cut to its share, and
then the logs that nobody has written to for the longest time lose what they have.
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
"""One log has at most this part of the room to itself, so that one busy log leaves others theirs."""


class TailCache:
    """``room``: bytes of batches, over all logs. ``size``: what is there. ``hits``: reads answered."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.size = 0
        self.hits = 0
        self._tails: OrderedDict[TopicPartition, Segments] = OrderedDict()

    def append(self, tp: TopicPartition, base: int, batches: Iterable[Batch]) -> None:
        """``batches`` were written to the log at ``base``; their bytes do not change any more.

        Where there is no memory for them, the log has nothing here."""
        tail = self._tails.pop(tp, None)
        if tail is None or tail.end != base:
            self.size -= tail.size if tail is not None else 0
            tail = Segments(base)
        self._tails[tp] = tail
        before = tail.size
        try:
            for batch in batches:
                if batch.stable and _shares(batch.data):
                    batch = batch._replace(stable=False)  # copied
                tail.append(*batch)
        except Exception as error:  # such as MemoryError: the store has them, and who waits has to be told
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
        """What the store's read would give, or None where the batch at ``offset`` is not here."""
        tail = self._tails.get(tp)
        if tail is None or not tail.start <= offset < tail.end:
            return None
        self.hits += 1
        return tail.read(offset, max_bytes)

    def drop(self, tp: TopicPartition, before: int | None = None) -> None:
        """Forget what lies below ``before``, the base offset of a batch; all where it is None."""
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
    """Whether ``data`` lies in a mapping with much else: the batch of a log that gets few would hold all of
    it in memory, uncounted, long after the logs that the rest belongs to have dropped theirs."""
    view = memoryview(data)
    return isinstance(view.obj, mmap) and len(view.obj) > 2 * len(view)
