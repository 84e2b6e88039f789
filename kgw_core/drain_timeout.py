"""The timeout of each step of a gateway's stop."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio

logger = logging.getLogger("kgw")


class DrainTimeout:
    """Each step of the stop may take ``seconds``. After :meth:`expire` no step waits."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._scope: anyio.CancelScope | None = None

    def expire(self) -> None:
        """End the current step's wait, and let no later step wait."""
        self.seconds = 0.0
        if self._scope is not None:
            self._scope.cancel()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Leave the block when the time is up."""
        with anyio.move_on_after(self.seconds) as self._scope:
            yield
        self._scope = None

    async def step(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        """Await ``work()``, one step of the stop. A step that fails or takes too long is logged."""
        try:
            with self.waiting():
                await work()
                return
        except Exception:
            logger.exception("while the gateway stopped, %s failed", what)
        else:
            waited = f"was not done within {self.seconds:g} s"
            logger.warning("%s %s", what, waited if self.seconds else "was not waited for")
