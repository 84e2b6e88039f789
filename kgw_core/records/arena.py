"""Memory for large frames, cut from mappings.

Why not ``bytearray``: it writes zeros over all of its memory first, though the kernel has just done so, and
bulk produce into memory costs mostly that (an 800 KB Produce took 1.1 to 3.2 ms of CPU, from mappings 0.6 to
0.9). A mapping is not touched before something is written into it, so its size costs address space only.
Huge pages (MADV_HUGEPAGE) made it 0.4 ms where the machine had them at hand, and up to 3.3 where a
hypervisor had to find them first; they are not asked for.

A chunk that nobody uses any more is used again, so that frames whose bytes are not kept always fill the
same memory: the last few that were filled are remembered, as a store that has to wait gives theirs back late.
A chunk that is forgotten is freed when the last view of it is gone.
"""

from __future__ import annotations

import mmap
import sys
from typing import Final

CHUNK: Final = 8 << 20
LARGEST: Final = CHUNK // 4
"""What is larger than this gets a mapping of its own."""
SPENT: Final = 8
"""Chunks that were filled and may be used again, once their views are gone."""
MAPPED_BLOCK: Final = 256 << 10
_ALIGN: Final = 64
_FLAGS: Final = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)


class Arena:
    """Hands out writable views. Not thread-safe."""

    __slots__ = ("_chunk", "_spent", "_unused", "_used")

    def __init__(self) -> None:
        self._chunk: mmap.mmap | None = None
        self._spent: list[mmap.mmap] = []
        self._used = 0
        self._unused = 0  # what sys.getrefcount says of a chunk without views

    def take(self, size: int) -> memoryview:
        """``size`` bytes (>= 1) of any content, for as long as the view or a slice of it lives.

        :raises MemoryError: the system has no more address space.
        """
        if size > LARGEST:
            return memoryview(_map(size))[:size]
        chunk = self._chunk
        if chunk is None or self._used + size > CHUNK:
            chunk = self._fresh()
        at = self._used
        self._used = at + size + -size % _ALIGN
        # a view of its own for each, so that the chunk's reference count counts them
        return memoryview(chunk)[at : at + size]

    def rewind(self) -> None:
        """Begin the chunk anew if no view of it is left; cheap enough to call before every take."""
        if self._used and sys.getrefcount(self._chunk) == self._unused:
            self._used = 0

    def _fresh(self) -> mmap.mmap:
        """Go on with a chunk that has no views: a spent one, or a new one."""
        if self._chunk is not None:
            self._spent.append(self._chunk)
            self._chunk = None
        for index in range(len(self._spent)):  # no name for it, which would count as a view
            if sys.getrefcount(self._spent[index]) == self._unused:
                self._chunk = self._spent.pop(index)
                break
        else:
            del self._spent[:-SPENT]
            self._chunk = _map(CHUNK)
            self._unused = sys.getrefcount(self._chunk)
        self._used = 0
        return self._chunk


def block(size: int) -> memoryview:
    """``size`` bytes that are all zero: mapped where they are many."""
    return memoryview(_map(size) if size >= MAPPED_BLOCK else bytearray(size))


def _map(size: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, size, flags=_FLAGS) if _FLAGS else mmap.mmap(-1, size)
    except OSError as error:
        raise MemoryError(f"cannot map {size} bytes: {error}") from None
