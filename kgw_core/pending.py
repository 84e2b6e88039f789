"""A result that is not there yet, without a task and without an event-loop future.

An ``asyncio.Future`` calls back through the loop, which costs a turn of it for each request. A
:class:`Pending` calls its listeners in the stack of whoever resolves it.
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
    """One value or one error, given once, heard by its listeners in order. Not thread-safe.

    A listener that fails is logged: whoever gives the value, and the other listeners, must not suffer for it.
    """

    __slots__ = ("_error", "_listener", "_more", "_value", "done", "on_abandon")

    def __init__(self) -> None:
        self.done = False
        self.on_abandon: Callable[[], object] | None = None
        """Called when nobody wants the value any more, as the client has gone."""
        self._value: T | None = None
        self._error: BaseException | None = None
        self._listener: Callable[[Pending[T]], object] | None = None  # nearly always one at most
        self._more: deque[Callable[[Pending[T]], object]] | None = None

    def resolve(self, value: T) -> None:
        """Give the value; nothing happens where there is a value or error already."""
        if not self.done:
            self._value = value
            self._finish()

    def fail(self, error: BaseException) -> None:
        """Give the error; nothing happens where there is a value or error already."""
        if not self.done:
            self._error = error
            self._finish()

    def abandon(self) -> None:
        """Nobody waits any more; the work may be given up."""
        told, self.on_abandon = self.on_abandon, None
        if told is not None and not self.done:
            told()

    def _finish(self) -> None:
        self.done = True
        self.on_abandon = None  # what would be told mostly holds this: the two would be garbage
        listener, self._listener = self._listener, None
        while listener is not None:
            try:
                listener(self)
            except Exception:
                logger.exception("a listener failed")
            listener = self._more.popleft() if self._more else None

    def then(self, listener: Callable[[Pending[T]], object]) -> None:
        """Call ``listener(self)`` when done: now, if it is."""
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
        """Wait for the value; giving up waiting leaves the work going on."""
        if not self.done:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def wake(_: Pending[T]) -> None:
                if not future.done():
                    future.set_result(None)

            self.then(wake)
            await future
        return self.result()


class Alone(Pending[T]):
    """The answer to a request that no later one of its connection may overtake, whatever the two are."""

    __slots__ = ()


class Few(Pending[T]):
    """The answer to a request of few ``entries``, however large it is: it takes little beside its bytes."""

    __slots__ = ("entries",)

    def __init__(self, entries: int) -> None:
        super().__init__()
        self.entries = entries
