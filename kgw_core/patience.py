"""How long the end of a gateway may take."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio

logger = logging.getLogger("kgw")


class Patience:
    """Each thing that is waited for at the end gets ``seconds``; after :meth:`lose` none gets any more."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._scope: anyio.CancelScope | None = None

    def lose(self) -> None:
        """Wait no longer, neither for what is waited for now nor for what comes after."""
        self.seconds = 0.0
        if self._scope is not None:
            self._scope.cancel()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Leave what is awaited inside when the time is up."""
        with anyio.move_on_after(self.seconds) as self._scope:
            yield
        self._scope = None

    async def step(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do ``work()``, a part of the end; what comes after it is done though it fails or takes too long."""
        try:
            with self.waiting():
                await work()
                return
        except Exception:
            logger.exception("while the gateway stopped, %s failed", what)
        else:
            patient = f"was not done within {self.seconds:g} s"
            logger.warning("%s %s", what, patient if self.seconds else "was not waited for")
