"""The settings of the plugin: the rest of the ``[storage]`` table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from kgw_core.spi.settings import Duration, MiB, Size, WrongSettings


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """``[storage] use = "sqlite"``."""

    path: Path = Path("kgw.db")
    """The database file; it is made if it does not exist. Relative to the directory of the config file."""
    synchronous: Literal["full", "normal"] = "full"
    """"full": acknowledged data survives loss of power. "normal": it survives the end of the process, and
    loss of power may take the last moments."""
    lock_timeout: Annotated[Duration, msgspec.Meta(ge=0)] = 5.0
    """How long to wait for another program that has locked the database."""
    readers: Annotated[int, msgspec.Meta(ge=1, le=16)] = 2
    """Connections for reading, each with a thread of its own."""
    read_ahead: Size = 32 * MiB
    """Memory for reading ahead; 0 turns it off."""
    cache: Size = 16 * MiB
    """Memory for database pages, of each connection."""

    reserve: Size = 16 * MiB
    """Room on the disk that is kept back, so that deleting works when the disk is full; at most an eighth of
    the file system. The write-ahead log keeps as much."""

    def __post_init__(self) -> None:
        wrong = _unusable(self.path)
        if wrong:
            raise WrongSettings(("path", wrong))


def _unusable(path: Path) -> str | None:
    """Why there cannot be a database at ``path``, as far as can be seen without opening it."""
    if path.name == ":memory:":
        return '":memory:" is no file; use = "memory" keeps everything in memory'
    if os.path.isdir(path):
        return f"{path} is a directory; expected a file, such as {path / 'kgw.db'}"
    parent = next((parent for parent in path.parents if os.path.lexists(parent)), None)
    if parent is not None and not os.path.isdir(parent):
        return f"{path} cannot be there: {parent} is not a directory"
    return None
