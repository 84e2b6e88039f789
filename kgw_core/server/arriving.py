"""A frame that has begun: its memory, its part of the budget, and whether it comes fast enough.

A small one gets a bytearray. A large one is cut from the arena, which is mapped, not touched: it costs what
arrives, not what the client claims; and it has a claim to its bytes of the budget, which may have to wait.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgw_core.budget import Budget
    from kgw_core.config import Limits
    from kgw_core.records.arena import Arena

_SIZE = struct.Struct(">i")
PREFIX = _SIZE.size
"""Bytes of a frame's length."""
read_size = _SIZE.unpack_from
"""``(length,) = read_size(buffer, at)``"""
MAPPED = 32 << 10
"""A frame of at least this many bytes is cut from the arena; a smaller one is a bytearray."""
SLOWEST = 64 << 10
"""Bytes a second: a frame that arrives as fast gets all the time that it needs."""
GRACE = 1.0
"""Seconds for which a frame may stand still though others wait for its room."""

_HTTP = {b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"DELE", b"CONN", b"PRI "}


class Arriving:
    """``memory`` is for the whole frame without its length, and ``filled`` bytes of it are there.

    ``size``: that length; None while ``memory`` is for it. ``claimed``: bytes of the budget that are for the
    frame. ``waits``: it has not got them yet.
    """

    __slots__ = ("_budget", "_resume", "claimed", "filled", "memory", "size", "waits")

    def __init__(self, size: int | None, arena: Arena, budget: Budget, resume: Callable[[], object]) -> None:
        """``resume()`` is called when it need not wait any more."""
        self.size = size
        self.filled = 0
        self.claimed = 0
        self.waits = False
        if size is None or size < MAPPED:
            self.memory = memoryview(bytearray(PREFIX if size is None else size))
            return
        self._budget = budget
        self._resume = resume
        arena.rewind()
        self.memory = arena.take(size)
        self.claimed = size
        self.waits = not budget.claim(size, self._granted)

    def _granted(self) -> None:
        self.waits = False
        self._resume()

    def drop(self) -> None:
        """It will not be whole, or is done with: its bytes of the budget are free."""
        claimed, self.claimed = self.claimed, 0
        if self.waits:
            self.waits = False
            self._budget.forget(self._granted)
        elif claimed:
            self._budget.give(claimed)

    def overdue(self, elapsed: float, limits: Limits) -> str | None:
        """Why it is not waited for any more, if it is not; ``elapsed`` seconds after it began."""
        if elapsed > limits.frame_timeout + self.filled / SLOWEST:
            timeout = f"{limits.frame_timeout:g} s (limits.frame_timeout)"
            return f"a request was not whole within {timeout}: {self.arrived()}"
        if self.claimed and elapsed > GRACE and self._budget.contended:
            expected = self.claimed * (elapsed - GRACE) / limits.frame_timeout
            if self.filled < expected:
                return f"others wait for its room, and a request comes too slowly: {self.arrived()}"
        return None

    def arrived(self) -> str:
        """How much of it is there, for the log."""
        return "within its length" if self.size is None else f"{self.filled} of {self.size} bytes"


def wrong_length(length: int, most: int) -> str:
    """What the client is told of that sends frames of no length that is taken."""
    told = f"a frame of {length} bytes; allowed are 1 to {most} (limits.max_request_size)"
    return told + guessed(length)


def guessed(length: int) -> str:
    """What the client seems to speak instead, by the first four bytes that it sent."""
    sent = _SIZE.pack(length)
    if sent in _HTTP:
        return "; it looks like HTTP"
    if sent[:2] == b"\x16\x03":
        return "; it looks like TLS, and this listener is plaintext"
    return ""
