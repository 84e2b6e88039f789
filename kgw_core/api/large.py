"""Answers of many entries to small requests, such as all topics of a large cluster.

It takes a second to make an answer of 100,000 entries, and many clients may ask for one, so it must not hold
the event loop. A handler returns a coroutine with a :class:`LargeAnswer` instead of the answer. The server
makes these one at a time, and encodes them in a thread (:mod:`kgw_core.server.large_answers`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from itertools import chain, islice
from typing import Any, Final, NamedTuple, TypeVar

import anyio
import anyio.lowlevel

from kgw_core.broker import RequestContext
from kgw_core.steps import at_once, taking_turns

T = TypeVar("T")

MANY: Final = 1000
"""An answer of more entries is a large one."""
STEP: Final = 500
"""How many entries are made before the event loop serves others."""
CHANGES: Final = 10
"""How many topics or partitions are changed in an immediate store before the event loop serves others."""


def in_steps_if_many(steps: Generator[Any, None, T], context: RequestContext) -> T | Coroutine[Any, Any, T]:
    """The result of ``steps``, which yield after each entry: at once, or in steps if the request has many
    entries."""
    return taking_turns(steps, STEP) if context.entries > MANY else at_once(steps)


class Pace:
    """Serves others after every ``step`` calls of :meth:`step`, in loops that also await other things."""

    def __init__(self, step: int = STEP) -> None:
        self._step = step
        self._count = 0

    async def step(self) -> None:
        """Count one entry."""
        self._count += 1
        if self._count % self._step == 0:
            await anyio.lowlevel.checkpoint()


class LargeAnswer(NamedTuple):
    """A large answer. ``make()`` makes the response in steps, when its turn comes."""

    make: Callable[[], Coroutine[Any, Any, Any]]


async def large(make: Callable[[], Coroutine[Any, Any, Any]]) -> LargeAnswer:
    """The result of a handler in place of its response."""
    return LargeAnswer(make)


async def some_at_once(
    items: Iterable[T], work: Callable[[T], Coroutine[Any, Any, None]], most: int, step: int = STEP
) -> None:
    """Do ``work(item)`` for all ``items``, up to ``most`` at the same time, and serve others after every
    ``step`` items. :raises ExceptionGroup: work has failed; the rest is cancelled."""
    remaining = iter(items)
    pace = Pace(step)

    async def worker() -> None:
        for item in remaining:
            await work(item)
            await pace.step()

    first = list(islice(remaining, most))
    if len(first) == 1:
        await work(first[0])
        return
    remaining = chain(first, remaining)
    async with anyio.create_task_group() as tasks:
        for _ in first:
            tasks.start_soon(worker)


async def in_turns(items: Iterable[T], step: int = STEP) -> AsyncIterator[T]:
    """Yield ``items``, and serve others after every ``step`` items."""
    for number, item in enumerate(items, 1):
        if number % step == 0:
            await anyio.lowlevel.checkpoint()
        yield item
