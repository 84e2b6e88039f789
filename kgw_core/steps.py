"""Work on very many things, in steps: a generator that yields wherever others may have their turn."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import anyio.lowlevel

T = TypeVar("T")


def at_once(steps: Generator[Any, None, T]) -> T:
    """All of them, without a turn for others; return what they do. :raises Exception: as a step does."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


async def taking_turns(steps: Generator[Any, None, T], count: int = 1) -> T:
    """All of them, with a turn for others before each ``count``; return what they do.

    :raises Exception: as a step does.
    """
    while True:
        await anyio.lowlevel.checkpoint()
        for _ in range(count):
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
