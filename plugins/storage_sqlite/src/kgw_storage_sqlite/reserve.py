"""A file that keeps room on the disk; it is given up when there is no other room."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

_ZEROS: Final = bytes(1 << 20)
_NOT_HERE: Final = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
NO_ROOM: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EFBIG: "files may not be that large",
    errno.EROFS: "the file system is read-only",
}
"""Errors for which nothing can be written, for people."""
if hasattr(errno, "EDQUOT"):
    NO_ROOM[errno.EDQUOT] = "the disk quota is used up"


class Reserve:
    """``<database>.reserve``. ``size``: bytes that it is to have."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".reserve")
        self.size = 0

    def hold(self, more: int = 0) -> str | None:
        """Keep the room, if there is that and ``more`` bytes; else leave things as they are, and tell why."""
        return self._grow(lambda length: max(self.size - length, 0) + more, keep=True)

    def why_not(self, more: int) -> str | None:
        """Why there is no room for ``more`` bytes, if there is none. What a quota or a file system's own ways
        leave is known only when it is tried."""
        return self._grow(lambda length: more, keep=False)

    def give_up(self) -> bool:
        """Give the room up; return whether there was any."""
        try:
            there = self.path.stat().st_size > 0
            os.truncate(self.path, 0)
        except OSError:
            return False
        return there

    def _grow(self, by: Callable[[int], int], *, keep: bool) -> str | None:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            return _told(error)
        try:
            length = os.fstat(descriptor).st_size
            left = self.size if keep else length
            try:
                allocate(descriptor, length + by(length))
            except OSError as error:
                left = length
                return _told(error)
            finally:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, left)
        finally:
            os.close(descriptor)
        return None


def allocate(descriptor: int, size: int) -> None:
    """Give the file ``size`` bytes of room, unless it has as many. :raises OSError: there is none."""
    length = os.fstat(descriptor).st_size
    if length >= size:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, length, size - length)
            return
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
    os.lseek(descriptor, length, os.SEEK_SET)
    while length < size:
        length += os.write(descriptor, _ZEROS[: size - length])


def _told(error: OSError) -> str:
    return NO_ROOM.get(error.errno or 0) or error.strerror or str(error)
