"""A part of a memory block with record batches back to back, and its index.

An index entry covers a granule, about a KiB of batches. Within a granule a search walks the batches' headers.
"""

from __future__ import annotations

import itertools
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

GRANULE: Final = 1 << 10
"""The bytes of small batches that share one index entry."""
NO_TIME: Final = -(1 << 63)

header = struct.Struct(">qi11xi8xq").unpack_from  # base offset, length, last offset delta, max timestamp
_NO_NUMBERS = array("q")
_NO_PLACES = array("i")


class Segment:
    """Batches in ``view[begin:used]``, the first at offset ``base``.

    The index has an entry for each granule. Granule 0 begins at ``begin``; the others have their first offset
    and position in ``bases`` and ``places``. ``times`` has the largest timestamp of each granule but the
    last, ``top`` that of the last, and ``peak`` that of all ``times``. ``writes`` has the last write time of
    each granule but the last, and ``written`` that of the last.
    """

    __slots__ = (
        "base",
        "bases",
        "begin",
        "mark",
        "peak",
        "places",
        "times",
        "top",
        "used",
        "view",
        "writes",
        "written",
    )

    def __init__(self, view: memoryview, base: int, begin: int, used: int, top: int, written: int) -> None:
        self.view = view
        self.base = base
        self.begin = begin
        self.used = used
        self.mark = begin + GRANULE
        self.bases = self.times = self.writes = _NO_NUMBERS
        self.places = _NO_PLACES
        self.top = top
        self.peak = NO_TIME
        self.written = written

    def note(self, base: int, at: int, max_timestamp: int) -> None:
        """Begin a granule with the batch at ``at``."""
        if not self.places:
            self.bases, self.places, self.times, self.writes = array("q"), array("i"), array("q"), array("q")
        self.bases.append(base)
        self.places.append(at)
        self.times.append(self.top)
        self.writes.append(self.written)
        if self.top > self.peak:
            self.peak = self.top
        self.top = max_timestamp
        self.mark = at + GRANULE

    def find(self, offset: int) -> tuple[int, int] | None:
        """Base offset and position of the first batch whose last offset >= ``offset``."""
        granule = bisect_right(self.bases, offset)
        at = self.places[granule - 1] if granule else self.begin
        view, used = self.view, self.used
        while at < used:
            base, length, delta, _ = header(view, at)
            if base + delta >= offset:
                return base, at
            at += 12 + length
        return None

    def cut(self, at: int, room: int) -> tuple[int, int]:
        """The end of the whole batches from ``at`` on that fit into ``room`` bytes, which is less than all.

        Returns the position and the base offset of the batch there; ``at`` itself if no batch fits.
        """
        limit = at + room
        granule = bisect_right(self.places, limit)
        if granule and self.places[granule - 1] > at:
            at = self.places[granule - 1]
        while True:
            base, length, _, _ = header(self.view, at)
            if at + 12 + length > limit:
                return at, base
            at += 12 + length

    def split(self, at: int) -> Segment:
        """Move the batches from ``at`` on to a new segment of the same block."""
        before, after = bisect_left(self.places, at), bisect_right(self.places, at)
        following = self.places[after] if after < len(self.places) else self.used
        right = Segment(self.view, header(self.view, at)[0], at, self.used, self.top, self.written)
        right.mark = self.mark
        right.bases, right.places, right.times = self.bases[after:], self.places[after:], self.times[after:]
        right.writes = self.writes[after:]
        if right.places:
            right.times[0] = max(t for _, t in self.headers(at, following))
            right.peak = max(right.times)
        else:
            right.top = max(t for _, t in self.headers(at, following))
        if before < len(self.writes):
            self.written = self.writes[before]
        self.bases, self.places, self.times = self.bases[:before], self.places[:before], self.times[:before]
        self.writes = self.writes[:before]
        self.used = at
        self.top = max(t for _, t in self.headers(self.places[-1] if before else self.begin, at))
        self.peak = max(self.times, default=NO_TIME)
        return right

    def headers(self, at: int, until: int) -> Iterator[tuple[int, int]]:
        """Base offset and max timestamp of each batch in ``at..until``."""
        while at < until:
            base, length, _, max_timestamp = header(self.view, at)
            yield base, max_timestamp
            at += 12 + length

    def write_time(self, base: int) -> int:
        """The last write time of the granule with the batch at offset ``base``."""
        granule = bisect_right(self.bases, base)
        return self.writes[granule] if granule < len(self.writes) else self.written

    def largest_time(self, start: int, end: int) -> tuple[int, int] | None:
        """Base offset and max timestamp of the batch for :meth:`Segments.find_max_time`."""
        found = self.find(start)
        if found is None:
            return None
        batches = itertools.takewhile(lambda batch: batch[0] < end, self.headers(found[1], self.used))
        return max(batches, key=lambda batch: (batch[1], -batch[0]), default=None)

    def first_time(self, timestamp: int) -> int | None:
        """Base offset of the first batch with a max timestamp of ``timestamp`` or later."""
        if max(self.peak, self.top) < timestamp:
            return None
        granule = next((i for i, t in enumerate(self.times) if t >= timestamp), len(self.times))
        at = self.places[granule - 1] if granule else self.begin
        return next((base for base, t in self.headers(at, self.used) if t >= timestamp), None)
