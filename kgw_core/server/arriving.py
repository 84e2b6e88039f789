"""A frame that has not arrived whole (Kafka's NetworkReceive): its memory, budget and timeout.

A small frame gets a bytearray. A large one is cut from the arena, whose memory is mapped but not touched, so
it costs the bytes that arrive and not the length that the client claims. A large frame also claims its bytes
of the budget, and may have to wait for them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from kgw_core.budget import Budget
from kgw_core.config import Limits
from kgw_core.records.arena import Arena

_SIZE = struct.Struct(">i")
PREFIX = _SIZE.size
"""The size of a frame's length, in bytes."""
read_size = _SIZE.unpack_from
"""``(length,) = read_size(buffer, at)``"""
MAPPED = 32 << 10
"""A frame of at least this many bytes is cut from the arena; a smaller one is a bytearray."""
SLOWEST = 64 << 10
"""Bytes a second. A frame that arrives at this rate is never closed for its slowness."""
GRACE = 1.0
"""Seconds for which a frame may stand still while others wait for its bytes of the budget."""

_HTTP = {b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"DELE", b"CONN", b"PRI "}


class Arriving:
    """``memory`` is for the whole frame without its length. ``filled`` bytes of it have arrived.

    ``size`` is the length; it is None while ``memory`` is for the length itself. ``claimed`` is how many
    bytes of the budget the frame takes, and ``waits`` is true while it waits for them.
    """

    __slots__ = ("_budget", "_resume", "claimed", "filled", "memory", "size", "waits")

    def __init__(self, size: int | None, arena: Arena, budget: Budget, resume: Callable[[], object]) -> None:
        """``resume()`` is called when the budget has granted the bytes."""
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
        """Drop the frame and give its bytes back to the budget."""
        claimed, self.claimed = self.claimed, 0
        if self.waits:
            self.waits = False
            self._budget.forget(self._granted)
        elif claimed:
            self._budget.give(claimed)

    def overdue(self, elapsed: float, limits: Limits) -> str | None:
        """The reason to close the connection ``elapsed`` seconds after the frame began, if there is one."""
        if elapsed > limits.frame_timeout + self.filled / SLOWEST:
            timeout = f"{limits.frame_timeout:g} s (limits.frame_timeout)"
            return f"a request was not whole within {timeout}: {self.arrived()}"
        if self.claimed and elapsed > GRACE and self._budget.contended:
            expected = self.claimed * (elapsed - GRACE) / limits.frame_timeout
            if self.filled < expected:
                return f"others wait for its room, and a request comes too slowly: {self.arrived()}"
        return None

    def arrived(self) -> str:
        """How much of the frame has arrived, for the log."""
        return "within its length" if self.size is None else f"{self.filled} of {self.size} bytes"


def wrong_length(length: int, most: int) -> str:
    """The reason to refuse a frame of this length."""
    return f"a frame of {length} bytes; allowed are 1 to {most} (limits.max_request_size){guessed(length)}"


def guessed(length: int) -> str:
    """A guess at the client's protocol by the first four bytes that it sent, if they are no length."""
    sent = _SIZE.pack(length)
    if sent in _HTTP:
        return "; it looks like HTTP"
    if sent[:2] == b"\x16\x03":
        return "; it looks like TLS, and this listener is plaintext"
    return ""
