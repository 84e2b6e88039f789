"""A request that is larger than may be: refused with an answer, where its beginning says what it is.

A client that is not told sends it again and again: Apache Kafka closes the connection, and a producer whose
batch is too large for the broker connects anew until its time is up. So the beginning of such a frame is
kept, the rest is read and dropped, and then the answer takes its turn. Where there can be none (acks=0,
answers that tell of errors beside their entries only, bytes that are no request) the connection ends at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kgw_core.config import Limits
from kgw_core.server.arriving import SLOWEST, guessed
from kgw_core.server.dispatch import Answer

HEAD: Final = 64 << 10
"""Bytes of the beginning that are kept at most."""
KEY_AND_CORRELATION: Final = 8
"""Bytes at the beginning that say which API and version it is, and which request."""

Refuse = Callable[[memoryview, int, bool], Answer]
"""``refuse(beginning, size, more)``: the answer; None where ``more`` of the beginning may come and is needed.
:raises Unanswerable: there is none."""


class Oversized:
    """A frame of ``size`` bytes, of which ``filled`` have come; ``answer`` is known before it is whole."""

    claimed: Final = 0
    """Bytes of the budget that are for the frame."""
    waits: Final = False
    """Whether it has to wait for them."""

    __slots__ = ("_head", "_refuse", "answer", "filled", "size")

    def __init__(self, size: int, refuse: Refuse) -> None:
        self.size = size
        self.filled = 0
        self.answer: Answer = None
        self._head = memoryview(bytearray(min(size, HEAD)))
        self._refuse = refuse

    def room(self, shared: memoryview) -> memoryview:
        """Where the next bytes go: what is dropped, into ``shared``."""
        if self.answer is None:
            return self._head[self.filled :]
        return shared[: min(len(shared), self.size - self.filled)]

    def take(self, arrived: memoryview) -> None:
        """What of it has come with the frame before. :raises Unanswerable: as :meth:`took`."""
        head = arrived[: len(self._head)]
        self._head[: len(head)] = head
        self.filled = len(arrived)
        self._look()

    def took(self, count: int) -> None:
        """So many bytes more have come into :meth:`room`. :raises Unanswerable: it gets no answer."""
        self.filled += count
        self._look()

    def _look(self) -> None:
        if self.answer is None and self.filled >= KEY_AND_CORRELATION:
            more = self.filled < len(self._head)
            self.answer = self._refuse(self._head[: self.filled], self.size, more)

    def overdue(self, elapsed: float, limits: Limits) -> str | None:
        """Why it is not waited for any more, if it is not; ``elapsed`` seconds after it began."""
        if elapsed > limits.frame_timeout + self.filled / SLOWEST:
            timeout = f"{limits.frame_timeout:g} s (limits.frame_timeout)"
            return f"a request was not whole within {timeout}: {self.arrived()}"
        return None

    def arrived(self) -> str:
        """How much of it is there, for the log."""
        return f"{self.filled} of {self.size} bytes"

    def drop(self) -> None:
        """It will not be whole."""


def may_be_told(size: int, most: int) -> bool:
    """Whether a frame of this length is too large, and may be a request all the same."""
    return size > most and not guessed(size)
