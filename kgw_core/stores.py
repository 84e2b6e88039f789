"""Opens and closes a gateway's store and state."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from kgw_core.background import brief
from kgw_core.spi.context import StoreContext
from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import LogStore
from kgw_core.state import default_state
from kgw_core.state.promised import PromisedState

logger = logging.getLogger("kgw")


class StartError(Exception):
    """The gateway cannot start. The message is for the user."""


class StopError(Exception):
    """The gateway has stopped, but a part of it failed to. The message is for the user."""


class Stores:
    """The ``store`` and the ``state``. Without a ``state`` it is the default one, chosen when the store is
    open.

    ``serves`` is set before the first client may be answered. A gateway that stops before that leaves
    everything as it was.
    """

    state: PromisedState

    def __init__(self, store: LogStore, state: StateStore | None = None) -> None:
        self.store = store
        self._chosen = state
        self.serves = False
        self._unclosed: list[str] = []

    @asynccontextmanager
    async def opened(self, context: StoreContext) -> AsyncIterator[None]:
        """Open both. On leaving the block each is closed, even if closing the other fails.

        :raises StartError: one cannot be opened.
        :raises StopError: one could not be closed, and there was no other error.
        """
        store = f"storage {self.store.name}"
        try:
            await self.store.open(context)
        except Exception as error:
            raise StartError(f"{store}: {error}") from error
        try:
            self.state = PromisedState(self._chosen or default_state(self.store))
            state = f"state {self.state.name}"
            try:
                await self.state.open(context)
            except Exception as error:
                raise StartError(f"{state}: {error}") from error
            try:
                yield
            finally:
                await self._close(state, self.state)
        finally:
            await self._close(store, self.store)
        if self._unclosed:
            raise StopError("\n".join(self._unclosed))

    async def _close(self, what: str, store: LogStore | PromisedState) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await (store.close() if self.serves else store.abandon())
            except Exception as error:
                self._unclosed.append(f"{what} could not be closed: {brief(error)}")
                logger.error(self._unclosed[-1], exc_info=error)
