"""Timers of sessions and rebalances, in one heap. Kafka uses a timing wheel for them.

A deadline is moved far more often than it is met. Moving it to a later time (a heartbeat) only writes that
time; the heap notices when the old time comes. So a heartbeat costs no heap operation and no timer of the
event loop.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

NEVER = 1 << 62


class Deadline:
    """Something that is due at ``when``, in ms of the monotonic clock, or NEVER."""

    __slots__ = ("queued", "when")

    def __init__(self) -> None:
        self.when = NEVER
        self.queued = NEVER  # its time in the heap


class Session(Deadline):
    """A deadline that each heartbeat moves to ``session_ms`` from now."""

    __slots__ = ("session_ms",)

    def __init__(self, session_ms: int) -> None:
        super().__init__()
        self.session_ms = session_ms


class Deadlines:
    """The heap of deadlines. A deadline's time in the heap is never later than its own."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Deadline]] = []
        self._count = 0

    def set(self, deadline: Deadline, when: int) -> None:
        """Move ``deadline`` to ``when``."""
        deadline.when = when
        if when < deadline.queued:
            self._push(deadline)

    def renew(self, session: Session, now: int) -> None:
        """Begin the session anew at ``now``."""
        self.set(session, now + session.session_ms)

    def _push(self, deadline: Deadline) -> None:
        deadline.queued = deadline.when
        self._count += 1
        heapq.heappush(self._heap, (deadline.when, self._count, deadline))

    def next(self) -> int:
        """When to call :meth:`due` again, or NEVER. The time may be too early."""
        return self._heap[0][0] if self._heap else NEVER

    def due(self, now: int) -> Iterator[Deadline]:
        """Unset and yield the deadlines that have come."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, deadline = heapq.heappop(heap)
            if deadline.queued != at:
                continue  # it was moved to an earlier time since
            deadline.queued = NEVER
            if deadline.when <= now:
                deadline.when = NEVER
                yield deadline
            elif deadline.when != NEVER:
                self._push(deadline)

    def __len__(self) -> int:
        return len(self._heap)
