"""Answers of many entries to requests of a few bytes, such as all topics of a large cluster.

Making one of 100,000 entries takes a second, so it must not hold the event loop, and many clients may ask for
one. A handler returns a coroutine that gives a :class:`LargeAnswer` instead of the answer; the dispatcher
makes these one at a time, and encodes them in a thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from typing import Any, Final, NamedTuple, TypeVar

import anyio.lowlevel

from kgw_core.broker import RequestContext
from kgw_core.steps import at_once, taking_turns

T = TypeVar("T")

MANY: Final = 1000
"""An answer of more entries is a large one."""
STEP: Final = 500
"""Entries that are made before others get their turn."""
CHANGES: Final = 10
"""Topics or partitions that are changed before others get their turn, where the store makes nobody wait."""


def worked_off(steps: Generator[Any, None, T], context: RequestContext) -> T | Coroutine[Any, Any, T]:
    """What ``steps`` return, which yield after each entry: at once, or in turns with others where the request
    has very many entries."""
    return taking_turns(steps, STEP) if context.entries > MANY else at_once(steps)


class Pace:
    """Others get their turn after each so many calls of :meth:`step`: for loops that await other things."""

    def __init__(self, step: int = STEP) -> None:
        self._step = step
        self._count = 0

    async def step(self) -> None:
        """One entry is done."""
        self._count += 1
        if self._count % self._step == 0:
            await anyio.lowlevel.checkpoint()


class LargeAnswer(NamedTuple):
    """``make()`` makes the response, in steps, when its turn comes."""

    make: Callable[[], Coroutine[Any, Any, Any]]


async def large(make: Callable[[], Coroutine[Any, Any, Any]]) -> LargeAnswer:
    """What a handler returns that otherwise returns its response."""
    return LargeAnswer(make)


async def in_turns(items: Iterable[T], step: int = STEP) -> AsyncIterator[T]:
    """``items``, and others get their turns after each ``step`` of them."""
    for number, item in enumerate(items, 1):
        if number % step == 0:
            await anyio.lowlevel.checkpoint()
        yield item
