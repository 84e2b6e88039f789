"""Long work in steps: a generator that yields at points where the event loop may serve others."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import Any, TypeVar

import anyio.lowlevel

T = TypeVar("T")


def at_once(steps: Generator[Any, None, T]) -> T:
    """Run all steps without serving others; return their result. :raises Exception: from a step."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


async def taking_turns(steps: Generator[Any, None, T], count: int = 1) -> T:
    """Run all steps, and serve others before each ``count`` steps; return their result.

    :raises Exception: from a step.
    """
    while True:
        await anyio.lowlevel.checkpoint()
        for _ in range(count):
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result


async def in_pieces(items: Iterable[T], count: int, do: Callable[[list[T]], object]) -> None:
    """Call ``do`` with each ``count`` of ``items``, and serve others before each call.

    :raises Exception: from ``do``.
    """
    rest = iter(items)
    while piece := list(islice(rest, count)):
        await anyio.lowlevel.checkpoint()
        do(piece)
