"""Coalesces equal calls: the end of a block makes each call once."""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Coalescer:
    """Inside a ``with`` block, calls wait for its end and each is made once. Outside they are made at once.

    One commit of a store answers many requests. So the answers of one connection leave in one write. The
    block must not await anything. Not thread-safe.
    """

    __slots__ = ("_calls", "_open")

    def __init__(self) -> None:
        self._open = False
        self._calls: dict[Callable[[], object], None] = {}

    def call(self, call: Callable[[], object]) -> None:
        """Make the call now, or at the end of the block."""
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
