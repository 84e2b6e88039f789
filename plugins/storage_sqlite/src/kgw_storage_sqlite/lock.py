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
    """``<database>.lock``, locked by the operating system; it names the process that has it."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self.path = database.with_name(database.name + ".lock")
        self._file: IO[str] | None = None

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return self._file is not None

    def acquire(self) -> None:
        """:raises InUse: another gateway has it. :raises OSError: the file cannot be made."""
        while True:
            file = self.path.open("a+", encoding="utf-8")
            try:
                _lock(file)
            except OSError:
                file.seek(0)
                owner = file.read().strip() or "a process that does not say which it is"
                file.close()
                raise InUse(
                    f"{self._database} is in use by another gateway ({owner}): stop that one, or give this "
                    "one another path"
                ) from None
            if self._is_there(file):
                break
            file.close()  # who had it failed to start and removed it: it would lock nobody out
        with contextlib.suppress(OSError):  # on a full disk the lock itself is what counts
            file.truncate(0)
            file.write(f"process {os.getpid()} on {_host()}\n")
            file.flush()
        self._file = file

    def _is_there(self, file: IO[str]) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
        except FileNotFoundError:
            return False

    def release(self, *, remove: bool = False) -> None:
        """Release the lock; ``remove`` the file, too."""
        if self._file is not None:
            if remove:
                with contextlib.suppress(OSError):  # as where files that are open cannot be removed
                    self.path.unlink()
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
