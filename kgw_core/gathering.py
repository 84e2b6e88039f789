"""Calls that are made once, at the end of what asks for them many times."""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Gathering:
    """While open (``with``), what is asked for waits, and is done once at the end; else it is done at once.

    A commit of a store answers many requests: with this, those of one connection leave in one write. Between
    entering and leaving nothing may be awaited. Not thread-safe.
    """

    __slots__ = ("_calls", "_open")

    def __init__(self) -> None:
        self._open = False
        self._calls: dict[Callable[[], object], None] = {}

    def call(self, call: Callable[[], object]) -> None:
        """``call()``, now or at the end."""
        if self._open:
            self._calls[call] = None
        else:
            call()

    def __enter__(self) -> None:
        self._open = True

    def __exit__(self, *_: object) -> None:
        self._open = False
        calls, self._calls = self._calls, {}
        for call in calls:
            try:
                call()
            except Exception:
                logger.exception("a call failed")
