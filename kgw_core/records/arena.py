"""Memory for large frames, cut from mappings.

A ``bytearray`` writes zeros over its memory, which the kernel has zeroed already. That was most of the cost
of bulk produce into memory: an 800 KB Produce took 1.1 to 3.2 ms of CPU, and takes 0.6 to 0.9 with mappings.
A mapping is not touched until it is written to, so its size costs only address space. Huge pages
(MADV_HUGEPAGE) took 0.4 ms if the machine had free ones, and up to 3.3 ms if a hypervisor had to find them,
so they are not used.

A chunk without views is used again, so that frames whose bytes are not kept fill the same memory. The arena
remembers the last few filled chunks, as a store that waits releases its frames late. Other chunks are freed
with their last view.
"""

from __future__ import annotations

import mmap
import sys
from typing import Final

CHUNK: Final = 8 << 20
LARGEST: Final = CHUNK // 4
"""A larger frame gets a mapping of its own."""
SPENT: Final = 8
"""How many filled chunks are kept to be used again when their views are gone."""
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
        self._unused = 0  # sys.getrefcount of a chunk without views

    def take(self, size: int) -> memoryview:
        """``size`` bytes (>= 1) of arbitrary content, valid as long as the view or a slice of it lives.

        :raises MemoryError: the system has no more address space.
        """
        if size > LARGEST:
            return memoryview(_map(size))[:size]
        chunk = self._chunk
        if chunk is None or self._used + size > CHUNK:
            chunk = self._fresh()
        at = self._used
        self._used = at + size + -size % _ALIGN
        # Each frame has its own view, so the chunk's reference count is the number of frames.
        return memoryview(chunk)[at : at + size]

    def rewind(self) -> None:
        """Begin the chunk anew if it has no views. It is cheap enough to call before every take."""
        if self._used and sys.getrefcount(self._chunk) == self._unused:
            self._used = 0

    def _fresh(self) -> mmap.mmap:
        """Continue with a chunk that has no views: a spent one, or a new one."""
        if self._chunk is not None:
            self._spent.append(self._chunk)
            self._chunk = None
        for index in range(len(self._spent)):  # a variable for the chunk would count as a view
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
    """``size`` zero bytes; many of them are mapped."""
    return memoryview(_map(size) if size >= MAPPED_BLOCK else bytearray(size))


def _map(size: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, size, flags=_FLAGS) if _FLAGS else mmap.mmap(-1, size)
    except OSError as error:
        raise MemoryError(f"cannot map {size} bytes: {error}") from None
