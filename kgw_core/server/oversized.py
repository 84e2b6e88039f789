"""A request that is larger than limits.max_request_size: it is refused with an answer if possible.

Apache Kafka closes the connection, and a producer whose batch is too large connects again until its delivery
timeout. Here the beginning of the frame is kept, the rest is read and dropped, and then the answer takes its
turn. A Produce is followed to its end, as the answer names all of its partitions. Some requests cannot be
answered: Produce with acks=0, responses without an error about the whole request, and bytes that are no
request. Then the connection closes at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from kgw_core.config import Limits
from kgw_core.server.arriving import SLOWEST, guessed
from kgw_core.server.responses import Answer

HEAD: Final = 64 << 10
"""The most bytes of the beginning that are kept."""
KEY_AND_CORRELATION: Final = 8
"""The bytes of API key, version and correlation id."""

_NO_BYTES: Final = memoryview(b"")


class Follower(Protocol):
    """Needs all bytes of a request to make its answer."""

    def feed(self, data: memoryview) -> None:
        """Take the next bytes. :raises Unanswerable: there is no answer."""

    def answer(self) -> Answer:
        """The answer, once the frame is whole. :raises Unanswerable: there is none."""


Refuse = Callable[[memoryview, int, bool], Answer | Follower]
"""``refuse(beginning, size, more)`` returns the answer, or a follower that makes it from the bytes that come,
or None if it needs ``more`` of the beginning, which may still come. :raises Unanswerable: there is no
answer."""


class Oversized:
    """A frame of ``size`` bytes, of which ``filled`` have arrived."""

    claimed: Final = 0
    """How many bytes of the budget the frame takes."""
    waits: Final = False
    """Whether the frame waits for them."""

    __slots__ = ("_found", "_head", "_passing", "_refuse", "filled", "size")

    def __init__(self, size: int, refuse: Refuse) -> None:
        self.size = size
        self.filled = 0
        self._found: Answer | Follower = None
        self._head = memoryview(bytearray(min(size, HEAD)))
        self._passing = _NO_BYTES
        self._refuse = refuse

    def room(self, shared: memoryview) -> memoryview:
        """The memory for the next bytes; it is ``shared`` for bytes that are dropped."""
        if self._found is None:
            return self._head[self.filled :]
        self._passing = shared[: min(len(shared), self.size - self.filled)]
        return self._passing

    def take(self, arrived: memoryview) -> None:
        """Take the bytes that arrived with the frame before. :raises Unanswerable: as :meth:`took`."""
        head = arrived[: len(self._head)]
        self._head[: len(head)] = head
        self.filled = len(arrived)
        self._look()

    def took(self, count: int) -> None:
        """``count`` bytes have arrived in :meth:`room`. :raises Unanswerable: the frame gets no answer."""
        self.filled += count
        if self._found is None:
            self._look()
        elif not isinstance(self._found, bytes | list):
            self._found.feed(self._passing[:count])

    def _look(self) -> None:
        if self.filled >= KEY_AND_CORRELATION:
            more = self.filled < len(self._head)
            self._found = self._refuse(self._head[: self.filled], self.size, more)
            if self._found is not None:
                self._head = _NO_BYTES

    def answer(self) -> Answer:
        """The answer, once the frame is whole. :raises Unanswerable: there is none."""
        found = self._found
        return found if found is None or isinstance(found, bytes | list) else found.answer()

    def overdue(self, elapsed: float, limits: Limits) -> str | None:
        """The reason to close the connection ``elapsed`` seconds after the frame began, if there is one."""
        if elapsed > limits.frame_timeout + self.filled / SLOWEST:
            timeout = f"{limits.frame_timeout:g} s (limits.frame_timeout)"
            return f"a request was not whole within {timeout}: {self.arrived()}"
        return None

    def arrived(self) -> str:
        """How much of the frame has arrived, for the log."""
        return f"{self.filled} of {self.size} bytes"

    def drop(self) -> None:
        """Drop the frame. It takes no bytes of the budget."""


def is_oversized(size: int, most: int) -> bool:
    """Whether a frame of this length is too large but may be a request."""
    return size > most and not guessed(size)
