"""A StateStore in memory, beside storage that is lost with the process, too."""

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
"""How many entries a scan yields before the event loop serves others."""


class Table:
    """Keys, values and versions in memory, and the rules of a commit. ``version`` is the last commit's."""

    __slots__ = ("entries", "version")

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[bytes, int]] = {}
        self.version = 0

    def check(self, if_versions: Versions) -> None:
        """Return if all versions match. :raises VersionConflict: one does not."""
        for key, expected in if_versions.items():
            entry = self.entries.get(key)
            found = ABSENT if entry is None else entry[1]
            if found != expected:
                raise VersionConflict(key, expected, found)

    def put(self, key: bytes, value: bytes | None, version: int) -> None:
        """Write or delete one key in the commit ``version``."""
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
        """The entries with ``prefix``, each as it is when it is yielded."""
        keys = [key for key in self.entries if key.startswith(prefix)]
        for index, key in enumerate(keys):
            entry = self.entries.get(key)
            if entry is not None:
                yield Entry(key, *entry)
            if index % SCAN_PIECE == SCAN_PIECE - 1:
                await anyio.lowlevel.checkpoint()


class MemoryStateStore(StateStore):
    """Keeps the state in this process. It is lost when the process ends."""

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
