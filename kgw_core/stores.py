"""Opening and closing a gateway's store and state."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from kgw_core.background import told
from kgw_core.spi.context import StoreContext
from kgw_core.spi.storage import LogStore
from kgw_core.state.promised import PromisedState

logger = logging.getLogger("kgw")


class StartError(Exception):
    """The gateway cannot start; the message is what the user reads."""


class StopError(Exception):
    """The gateway has stopped, and not all of it in order; the message is what the user reads."""


class Stores:
    """``store`` and ``state``. ``serves`` is to be set before a client may be answered: until then a gateway
    that ends leaves everything as it was."""

    def __init__(self, store: LogStore, state: PromisedState) -> None:
        self.store = store
        self.state = state
        self.serves = False
        self._unclosed: list[str] = []

    @asynccontextmanager
    async def opened(self, context: StoreContext) -> AsyncIterator[None]:
        """Both, open; on leaving each is closed, whatever becomes of the other.

        :raises StartError: one cannot be opened.
        :raises StopError: one could not be closed, and nothing else was wrong.
        """
        store, state = f"storage {self.store.name}", f"state {self.state.name}"
        try:
            await self.store.open(context)
        except Exception as error:
            raise StartError(f"{store}: {error}") from error
        try:
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
                self._unclosed.append(f"{what} could not be closed: {told(error)}")
                logger.error(self._unclosed[-1], exc_info=error)
