"""A result that is not ready yet, without a task and without an event-loop future.

An ``asyncio.Future`` calls back through the event loop, which costs each request a turn of the loop. A
:class:`Pending` calls its listeners from :meth:`Pending.resolve`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Pending(Generic[T]):
    """One value or one error, given once. Its listeners are called in order. Not thread-safe.

    A listener that fails is logged. It harms neither the caller of :meth:`resolve` nor the other listeners.
    """

    __slots__ = ("_error", "_listener", "_more", "_value", "done", "on_abandon")

    def __init__(self) -> None:
        self.done = False
        self.on_abandon: Callable[[], object] | None = None
        """Called when the value is not needed any more, as the client has disconnected."""
        self._value: T | None = None
        self._error: BaseException | None = None
        self._listener: Callable[[Pending[T]], object] | None = None  # nearly always the only one
        self._more: deque[Callable[[Pending[T]], object]] | None = None

    def resolve(self, value: T) -> None:
        """Give the value. A second value or error is ignored."""
        if not self.done:
            self._value = value
            self._finish()

    def fail(self, error: BaseException) -> None:
        """Give the error. A second value or error is ignored."""
        if not self.done:
            self._error = error
            self._finish()

    def abandon(self) -> None:
        """The value is not needed any more. The work may be given up."""
        on_abandon, self.on_abandon = self.on_abandon, None
        if on_abandon is not None and not self.done:
            on_abandon()

    def _finish(self) -> None:
        self.done = True
        self.on_abandon = None  # it mostly refers to this object, and a cycle would be garbage
        listener, self._listener = self._listener, None
        while listener is not None:
            try:
                listener(self)
            except Exception:
                logger.exception("a listener failed")
            listener = self._more.popleft() if self._more else None

    def then(self, listener: Callable[[Pending[T]], object]) -> None:
        """Call ``listener(self)`` when this is done, or now if it is done."""
        if self.done:
            listener(self)
        elif self._listener is None:
            self._listener = listener
        elif self._more is None:
            self._more = deque((listener,))
        else:
            self._more.append(listener)

    def result(self) -> T:
        """The value. :raises BaseException: the error that was given."""
        if self._error is not None:
            raise self._error
        if not self.done:
            raise RuntimeError("not done")
        return self._value  # type: ignore[return-value] # T may itself be optional

    async def wait(self) -> T:
        """Wait for the value. Cancelling the wait does not cancel the work."""
        if not self.done:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def wake(_: Pending[T]) -> None:
                if not future.done():
                    future.set_result(None)

            self.then(wake)
            await future
        return self.result()


class Exclusive(Pending[T]):
    """The answer to a request that no later request of its connection may overlap."""

    __slots__ = ()


class Counted(Pending[T]):
    """The answer to a request whose ``entries`` were counted. They bound the memory of the decoded
    request."""

    __slots__ = ("entries",)

    def __init__(self, entries: int) -> None:
        super().__init__()
        self.entries = entries
