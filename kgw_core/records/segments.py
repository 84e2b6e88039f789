"""Record batches of one partition in memory: few large blocks instead of many small objects.

Small batches are copied back to back into blocks of a fixed size, so that a read returns many of them as one
slice. A block never changes its size, and no byte of it is written twice. So a reader's slices stay valid,
also after the log has dropped them. A large batch that nearly fills its frame keeps that frame instead.

A :class:`Segment` is a part of one block, and :class:`Segments` is a log of them. The memory store and the
tail cache use them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from mmap import mmap
from operator import attrgetter
from typing import Any, Final, NamedTuple

from kgw_core.errors import OffsetOutOfRange
from kgw_core.records.arena import block as new_block
from kgw_core.records.segment import Segment, header

Buffer = bytes | bytearray | memoryview

MIN_BLOCK: Final = 4 << 10
MAX_BLOCK: Final = 1 << 20
KEEP: Final = 32 << 10
"""The smallest batch that may keep its frame: half of the smallest frame worth keeping."""
NEVER: Final = 1 << 63

_by_base = attrgetter("base")
_new_tuple = tuple.__new__  # a NamedTuple's own constructor takes twice as long


class Run(NamedTuple):
    """Whole batches back to back: offsets ``base_offset`` to ``next_offset``, which is excluded.

    A reader continues at ``next_offset``. It is after the last offset in ``data``, and at most the first
    offset of the next batch in the log.
    """

    base_offset: int
    next_offset: int
    data: Buffer


_NOTHING = Segment(memoryview(b""), NEVER, 0, 0, -1, -1)
"""Takes the place of the last segment if there is none."""


class Segments:
    """A log of batches: offsets ``start`` to ``end``, ``size`` bytes. These three are read-only.

    Base offset, span and timestamp must be those of the batch's header. Offsets may have gaps.
    """

    __slots__ = (
        "_block",
        "_expected",
        "_filled",
        "_last_at",
        "_last_base",
        "_limit",
        "_segments",
        "_tail",
        "end",
        "size",
        "start",
    )

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.end = start
        self.size = 0
        self._segments: list[Segment] = []
        self._tail = _NOTHING
        self._block = _NOTHING.view  # small batches are written to it
        self._limit = -1  # its length, or -1 if the tail is not in this block
        self._filled = 0  # the written bytes of the block while the tail is elsewhere
        self._last_base = NEVER  # of the newest batch
        self._last_at = 0
        self._expected = 0  # bytes that are known to follow

    def append(
        self,
        base_offset: int,
        span: int,
        max_timestamp: int,
        data: Buffer,
        stable: bool = False,
        write_time: int = -1,
    ) -> None:
        """Add a batch at the end. ``stable``: its bytes will not change, so they may be kept without a
        copy."""
        if base_offset < self.end:
            raise ValueError(f"batch at offset {base_offset}, but the log ends at {self.end}")
        size = len(data)
        tail = self._tail
        at = tail.used
        used = at + size
        if used > self._limit or (stable and size >= KEEP):
            self._append_elsewhere(base_offset, max_timestamp, data, stable, write_time)
        else:
            self._block[at:used] = data
            tail.used = used
            if at >= tail.mark:
                tail.note(base_offset, at, max_timestamp)
            elif max_timestamp > tail.top:
                tail.top = max_timestamp
            tail.written = write_time
            self._last_at = at
        self._last_base = base_offset
        self.end = base_offset + span
        self.size += size

    def _append_elsewhere(
        self, base: int, max_timestamp: int, data: Buffer, stable: bool, write_time: int
    ) -> None:
        """Open a segment with this batch: in its frame, a block of its own, or a shared one."""
        size = len(data)
        if self._limit >= 0:
            self._filled = self._tail.used
        at, limit = 0, -1
        frame = _frame(data) if stable and size >= KEEP else None
        if frame is not None:
            view = frame
        elif self._filled + size <= len(self._block):
            at, limit = self._filled, len(self._block)
            self._block[at : at + size] = data
            view = self._block.toreadonly()
        else:
            length = self._next_block()
            if size > length or (size > MIN_BLOCK // 2 and size * 8 > length):
                view = memoryview(bytes(data))
            else:
                block = new_block(length)
                block[:size] = data
                view, limit, self._block = block.toreadonly(), length, block
        self._tail = Segment(view, base, at, at + size, max_timestamp, write_time)
        self._segments.append(self._tail)
        self._limit = limit
        self._last_at = at

    def _next_block(self) -> int:
        """The length of the next block: half of the log's size, so that the unused part stays small."""
        wanted = self._expected - self.size
        if wanted <= 0:
            wanted = 1 << max(0, self.size.bit_length() - 2)
            return min(max(wanted, MIN_BLOCK), MAX_BLOCK)
        return min(wanted, MAX_BLOCK)

    def read(self, offset: int, max_bytes: int) -> list[Run]:
        """Batches from the first whose last offset >= ``offset``: at least one, and up to ``max_bytes``.

        :raises OffsetOutOfRange: ``offset`` is below the start or above the end.
        """
        end = self.end
        if not self.start <= offset < end:
            if offset == end:
                return []
            raise OffsetOutOfRange(f"offset {offset} is outside {self.start}..{end}")
        tail = self._tail
        if offset >= self._last_base:
            data = tail.view[self._last_at : tail.used]
            return [_new_tuple(Run, (self._last_base, end, data))]
        if offset >= tail.base:
            found = tail.find(offset)
            if found is None:
                return []
            base, at = found
            if tail.used - at <= max_bytes:
                return [_new_tuple(Run, (base, end, tail.view[at : tail.used]))]
            return self._read_on(len(self._segments) - 1, base, at, max_bytes)
        place = self._find(offset)
        if place is None:
            return []
        index, base, at = place
        return self._read_on(index, base, at, max_bytes)

    def _find(self, offset: int) -> tuple[int, int, int] | None:
        """The first batch whose last offset >= ``offset``: index of its segment, base offset, position."""
        index = self._index(offset)
        found = self._segments[index].find(offset) if self._segments else None
        if found is None:  # in a gap between two segments, or after the last batch
            index += 1
            if index >= len(self._segments):
                return None
            found = self._segments[index].base, self._segments[index].begin
        return index, *found

    def _read_on(self, index: int, base: int, at: int, room: int) -> list[Run]:
        """Runs from the batch at ``at`` of one segment on, through the next segments."""
        runs: list[Run] = []
        segments = self._segments
        while True:
            segment = segments[index]
            index += 1
            size = segment.used - at
            if size > room:
                break
            following = segments[index].base if index < len(segments) else self.end
            runs.append(_new_tuple(Run, (base, following, segment.view[at : segment.used])))
            room -= size
            if index == len(segments):
                return runs
            base, at = segments[index].base, segments[index].begin
        stop, following = segment.cut(at, room)
        if stop == at:
            if runs:
                return runs
            _, length, delta, _ = header(segment.view, at)
            stop, following = at + 12 + length, base + delta + 1
        runs.append(_new_tuple(Run, (base, following, segment.view[at:stop])))
        return runs

    def find_time(self, timestamp: int) -> int | None:
        """The base offset of the first batch with a max timestamp of ``timestamp`` or later."""
        for segment in self._segments:
            base = segment.first_time(timestamp)
            if base is not None:
                return base
        return None

    def find_max_time(self, start: int | None = None, end: int | None = None) -> int | None:
        """The base offset of the first batch with the largest max timestamp, of the batches that have offsets
        from ``start`` on and begin before ``end`` (None: all). None if there is no such batch."""
        if not self._segments:
            return None
        if (start is None or start <= self.start) and (end is None or end >= self.end):
            return self.find_time(max(max(segment.peak, segment.top) for segment in self._segments))
        start = self.start if start is None else max(start, self.start)
        best: tuple[int, int] | None = None
        for segment in self._segments[self._index(start) :]:
            if end is not None and segment.base >= end:
                break
            if best is None or max(segment.peak, segment.top) > best[1]:
                found = segment.largest_time(start, NEVER if end is None else end)
                if found is not None and (best is None or found[1] > best[1]):
                    best = found
        return None if best is None else best[0]

    def write_time(self, offset: int) -> int:
        """The write time of the batch with ``offset``, or of the next one, up to its granule; -1 without
        one."""
        place = self._find(max(offset, self.start))
        if place is None:
            return -1
        index, base, _ = place
        return self._segments[index].write_time(base)

    def _index(self, offset: int) -> int:
        """The index of the segment with the first batch that has ``offset`` or later offsets."""
        return max(0, bisect_right(self._segments, offset, key=_by_base) - 1)

    def trim(self, before: int) -> None:
        """Make ``before`` the start. The batch that contains it stays whole.

        :raises OffsetOutOfRange: ``before`` is above the end.
        """
        if before > self.end:
            raise OffsetOutOfRange(f"cannot trim to {before}: the log ends at {self.end}")
        if before > self.start:
            self._put(0, self._split(before), [])
            self.start = before

    def truncate(self, end: int) -> None:
        """Drop the batches from offset ``end`` on, which is the base offset of one. It becomes the end."""
        if end < self.end:
            self._put(self._split(end), len(self._segments), [])
            self.end = end

    def drop_oldest(self, max_bytes: int) -> int:
        """Drop whole segments from the front until at most ``max_bytes`` are left. Return the dropped
        bytes."""
        before = size = self.size
        count = 0
        while size > max_bytes:
            size -= self._segments[count].used - self._segments[count].begin
            count += 1
        if count:
            self._put(0, count, [])
            self.start = self._segments[0].base if self._segments else self.end
        return before - size

    def replace(
        self, first: int, last: int, batches: Sequence[tuple[int, int, int, Buffer, Any, Any]]
    ) -> None:
        """Replace all batches with offsets ``first..last`` by ``batches`` (base offset, span, max timestamp,
        data, stable). These keep the write times of the replaced ones."""
        batches = [batch for batch in batches if batch[0] + batch[1] > self.start]
        packed = Segments(first)
        packed._expected = sum(len(batch[3]) for batch in batches)
        for batch in batches:
            packed.append(*batch[:5], self.write_time(batch[0]))
        stop = self._split(last + 1)
        segments = len(self._segments)
        begin = self._split(first)
        stop += len(self._segments) - segments
        self._put(begin, stop, packed._segments)

    def _split(self, offset: int) -> int:
        """Begin a segment at the first batch whose last offset >= ``offset``; return its index."""
        index = bisect_right(self._segments, offset, key=_by_base) - 1
        if index < 0:
            return 0
        segment = self._segments[index]
        found = segment.find(offset)
        if found is None:
            return index + 1
        if found[1] == segment.begin:
            return index
        self._segments.insert(index + 1, segment.split(found[1]))
        if segment is self._tail:
            self._tail = self._segments[-1]
        return index + 1

    def _put(self, begin: int, stop: int, segments: list[Segment]) -> None:
        """Replace the segments from index ``begin`` to ``stop`` by ``segments``."""
        for gone in self._segments[begin:stop]:
            self.size -= gone.used - gone.begin
        for new in segments:
            self.size += new.used - new.begin
        self._segments[begin:stop] = segments
        last = self._segments[-1] if self._segments else _NOTHING
        if last is not self._tail:  # the tail is gone: a reader may still use its block, so never write to it
            self._tail, self._limit, self._last_base = last, -1, NEVER
            self._block, self._filled = _NOTHING.view, 0


def _frame(data: Buffer) -> memoryview | None:
    """A view of ``data`` to keep, if it keeps little more memory alive than the batch itself.

    The frames of a mapping live about equally long, so a view of a mapping may be kept.
    """
    view = memoryview(data)
    frame = view.obj
    if isinstance(frame, mmap) or (
        isinstance(frame, bytes | bytearray) and 2 * KEEP <= len(frame) <= 2 * len(data)
    ):
        return view.toreadonly()
    return None
