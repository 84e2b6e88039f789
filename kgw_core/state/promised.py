"""Checks all commits of the core against the contract of the StateStore."""

from __future__ import annotations

from collections.abc import AsyncIterator

from kgw_core.spi.context import PluginContext
from kgw_core.spi.state import (
    NO_VERSIONS,
    Changes,
    Entry,
    StateCapabilities,
    StateStore,
    Versions,
    check_changes,
)


class PromisedState(StateStore):
    """``inner`` without commits of a key or value that is too large. They are refused here.

    A room that joins several requests into one commit calls :func:`~kgw_core.spi.state.check_changes` for
    each request before that, so that only the bad request is refused.
    """

    def __init__(self, inner: StateStore) -> None:
        super().__init__()
        self.inner = inner
        self.name = inner.name  # type: ignore[misc] # messages name the inner store
        self.version = 0
        """The version of the last known commit, or 0."""

    async def open(self, context: PluginContext | None = None) -> None:
        await self.inner.open(context)
        self._seen(await self.inner.commit({}))

    async def close(self) -> None:
        await self.inner.close()

    async def abandon(self) -> None:
        await self.inner.abandon()

    def capabilities(self) -> StateCapabilities:
        return self.inner.capabilities()

    async def get(self, key: bytes) -> Entry | None:
        return await self.inner.get(key)

    def scan(self, prefix: bytes) -> AsyncIterator[Entry]:
        return self.inner.scan(prefix)

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        """Commit to ``inner``. :raises MessageTooLarge: nothing was written. :raises Exception: from it."""
        check_changes(changes)
        return self._seen(await self.inner.commit(changes, if_versions))

    def commit_now(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        """Commit to ``inner``. :raises MessageTooLarge: nothing was written. :raises Exception: from it."""
        check_changes(changes)
        return self._seen(self.inner.commit_now(changes, if_versions))

    def _seen(self, version: int) -> int:
        self.version = max(self.version, version)
        return version
