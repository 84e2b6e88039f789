"""Files in which a broker tells others how it is: ``--ready-file`` and ``--health-file``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from kgw_core.gateway import StartError


class StatusFile:
    """The file exists from the first :meth:`write` to :meth:`take_back`. ``option`` gave its path."""

    def __init__(self, option: str, path: Path) -> None:
        self._option = option
        self._path = path
        self._beside = path.with_name(f".{path.name}.{os.getpid()}")
        self._written = False

    def try_out(self) -> None:
        """Check before the start that the file can be written. :raises StartError: it cannot."""
        if self._path.is_dir():
            raise StartError(f"{self._option} {self._path} cannot be written: Is a directory")
        with self._telling():
            self._beside.touch()

    def write(self, text: str) -> None:
        """Write the file atomically. :raises StartError: it cannot be written."""
        with self._telling():
            self._beside.write_text(text, encoding="utf-8")
            os.replace(self._beside, self._path)
        self._written = True

    def take_back(self) -> None:
        """Remove the file if this process has written it."""
        if self._written:
            with contextlib.suppress(OSError):
                self._path.unlink()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StartError(f"{self._option} {self._path} cannot be written: {error.strerror}") from None
        finally:
            with contextlib.suppress(OSError):
                self._beside.unlink()
