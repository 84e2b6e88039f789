"""The lock that keeps a second gateway away from a database. It goes with its process, however that ends."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO


class InUse(Exception):
    """Another process has the lock. The message is what the user reads."""


class FileLock:
    """``<database>.lock``, locked by the operating system; inside, who has it."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """:raises InUse: another gateway has it. :raises OSError: the file cannot be made."""
        file = self._path.open("a+", encoding="utf-8")
        try:
            _lock(file)
        except OSError:
            file.seek(0)
            owner = file.read().strip() or "a process that does not say which it is"
            file.close()
            raise InUse(
                f"{self._database} is in use by another gateway ({owner}): stop that one, or give this one "
                "another path"
            ) from None
        with contextlib.suppress(OSError):  # on a full disk the lock itself is what counts
            file.truncate(0)
            file.write(f"process {os.getpid()} on {_host()}\n")
            file.flush()
        self._file = file

    def release(self) -> None:
        """The file stays: removing it would let two processes lock two files of one name."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.truncate(0)
                self._file.close()
            self._file = None


def _host() -> str:
    import socket

    return socket.gethostname()


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        file.seek(1 << 30)  # what is locked cannot be read by others: lock far behind the text
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
