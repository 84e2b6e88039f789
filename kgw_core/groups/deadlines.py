"""Deadlines that are moved far more often than they are met.

Moving one back (a heartbeat) only writes its time; the heap finds out when the old time comes. So a
heartbeat costs no heap operation and no timer of the event loop.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

NEVER = 1 << 62


class Deadline:
    """Something that is due ``when`` (ms of the monotonic clock; NEVER: it is not)."""

    __slots__ = ("queued", "when")

    def __init__(self) -> None:
        self.when = NEVER
        self.queued = NEVER  # the time under which the heap has it


class Session(Deadline):
    """Time that a sign of life begins anew: ``session_ms``."""

    __slots__ = ("session_ms",)

    def __init__(self, session_ms: int) -> None:
        super().__init__()
        self.session_ms = session_ms


class Deadlines:
    """The heap of deadlines, each under a time that is not after its own."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Deadline]] = []
        self._count = 0

    def set(self, deadline: Deadline, when: int) -> None:
        """Make ``deadline`` due ``when``, whatever it was before."""
        deadline.when = when
        if when < deadline.queued:
            self._push(deadline)

    def renew(self, session: Session, now: int) -> None:
        """There was a sign of life."""
        self.set(session, now + session.session_ms)

    def _push(self, deadline: Deadline) -> None:
        deadline.queued = deadline.when
        self._count += 1
        heapq.heappush(self._heap, (deadline.when, self._count, deadline))

    def next(self) -> int:
        """When to call :meth:`due` again, NEVER where there is nothing; may be too early."""
        return self._heap[0][0] if self._heap else NEVER

    def due(self, now: int) -> Iterator[Deadline]:
        """Deadlines that have come, each one no longer set."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, deadline = heapq.heappop(heap)
            if deadline.queued != at:
                continue  # it was set to an earlier time since
            deadline.queued = NEVER
            if deadline.when <= now:
                deadline.when = NEVER
                yield deadline
            elif deadline.when != NEVER:
                self._push(deadline)

    def __len__(self) -> int:
        return len(self._heap)
