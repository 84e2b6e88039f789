"""How long the end of a gateway may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


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
