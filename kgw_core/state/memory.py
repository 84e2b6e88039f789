"""A StateStore in memory: for storage that does not outlive the process either."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio.lowlevel

from kgw_core.spi.state import (
    ABSENT,
    NO_VERSIONS,
    Changes,
    Entry,
    StateCapabilities,
    StateStore,
    VersionConflict,
    Versions,
)

SCAN_PIECE = 1_000
"""Entries that a scan gives before it lets others run."""


class Table:
    """Keys, values and versions in memory, and the rules of a commit. ``version``: of the last commit."""

    __slots__ = ("entries", "version")

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[bytes, int]] = {}
        self.version = 0

    def check(self, if_versions: Versions) -> None:
        """:raises VersionConflict: one of them does not hold."""
        for key, expected in if_versions.items():
            entry = self.entries.get(key)
            found = ABSENT if entry is None else entry[1]
            if found != expected:
                raise VersionConflict(key, expected, found)

    def put(self, key: bytes, value: bytes | None, version: int) -> None:
        """Write or delete one key, as the commit ``version`` does."""
        if value is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = (value, version)
        if version > self.version:
            self.version = version

    def get(self, key: bytes) -> Entry | None:
        """The entry at ``key``."""
        entry = self.entries.get(key)
        return None if entry is None else Entry(key, *entry)

    async def scan(self, prefix: bytes) -> AsyncIterator[Entry]:
        """The entries below ``prefix`` as they are when each one's turn comes."""
        keys = [key for key in self.entries if key.startswith(prefix)]
        for index, key in enumerate(keys):
            entry = self.entries.get(key)
            if entry is not None:
                yield Entry(key, *entry)
            if index % SCAN_PIECE == SCAN_PIECE - 1:
                await anyio.lowlevel.checkpoint()


class MemoryStateStore(StateStore):
    """Keeps everything in this process; it is gone when it ends."""

    name = "memory"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._table = Table()

    def capabilities(self) -> StateCapabilities:
        return StateCapabilities(immediate=True)

    async def get(self, key: bytes) -> Entry | None:
        return self._table.get(key)

    def scan(self, prefix: bytes) -> AsyncIterator[Entry]:
        return self._table.scan(prefix)

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        return self.commit_now(changes, if_versions)

    def commit_now(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        table = self._table
        if if_versions:
            table.check(if_versions)
        if changes:
            version = table.version = table.version + 1
            entries = table.entries
            for key, value in changes.items():
                if value is None:
                    entries.pop(key, None)
                else:
                    entries[key] = (value, version)
        return table.version
