"""The pipeline of one connection: which request may start, and which answers may leave.

Kafka mutes a channel while it handles one of its requests. Here later requests are held instead: requests
start and answers leave in the order of arrival, as clients rely on it. A request starts when all earlier ones
are answered. Only a Produce may overlap earlier Produces, unless one of them is decoded in steps.
"""

from __future__ import annotations

import struct
from collections import deque

from kgw_core.api.produce_legacy import FIRST_V2
from kgw_core.budget import Budget
from kgw_core.pending import Counted, Exclusive, Pending
from kgw_core.server.responses import Answer
from kgw_core.wire import Buffer

DECODED = 32
"""A decoded request may take this many times the bytes of its frame, as entries of a few bytes become
objects. Measured with a Fetch of many partitions: 26. Batches of a Produce are not copied."""
ENTRY = 1 << 10
"""The most bytes of one decoded entry, for requests whose entries were counted. A JoinGroup with the names of
thousands of topics has few entries. Hundreds of them wait for each other, so all have to fit."""

_PRODUCE = 0
_KEY_AND_VERSION = struct.Struct(">hh")


def _is_produce(frame: memoryview) -> bool:
    """Whether the request may overlap others. A Produce of message sets may not, as it is converted first."""
    if len(frame) < _KEY_AND_VERSION.size:
        return False
    key, version = _KEY_AND_VERSION.unpack_from(frame)
    return bool(key == _PRODUCE and version >= FIRST_V2)


class Pipeline:
    """The requests that are held or in flight: at most ``most``, each of at most ``entries`` entries.

    ``answers`` are those of the requests in flight, in order; the first is never finished. ``held`` are the
    frames that may not start yet. ``budgeted`` is how many bytes of the budget all of them take.
    """

    __slots__ = (
        "_budget",
        "_most",
        "_most_entries",
        "_only_produces",
        "_sizes",
        "answers",
        "budgeted",
        "held",
    )

    def __init__(self, budget: Budget, most: int, entries: int) -> None:
        self.answers: deque[Pending[Answer] | Answer] = deque()
        self.held: deque[memoryview] = deque()
        self.budgeted = 0
        self._budget = budget
        self._most = most
        self._most_entries = entries
        self._sizes: deque[int] = deque()  # the budgeted bytes of each answer's request
        self._only_produces = True  # whether all requests in flight are Produces

    def may_start(self, frame: memoryview) -> bool:
        """Whether this request may start while others are in flight."""
        return not self.held and self._may_overlap(frame)

    def _may_overlap(self, frame: memoryview) -> bool:
        return self._only_produces and len(self.answers) < self._most and _is_produce(frame)

    def hold(self, frame: memoryview, stable: bool) -> None:
        """Hold a request that may not start yet. ``stable``: the frame has memory of its own."""
        if not stable:
            frame = memoryview(bytearray(frame))
        self.held.append(frame)
        self.budgeted += len(frame)
        self._budget.take(len(frame))

    def next_held(self) -> memoryview | None:
        """The first held frame if it may start. The caller gives its bytes back to the budget."""
        if not self.held or (self.answers and not self._may_overlap(self.held[0])):
            return None
        frame = self.held.popleft()
        self.budgeted -= len(frame)
        return frame

    def started(self, frame: memoryview, answer: Pending[Answer]) -> None:
        """A request has started, and its answer is not ready yet."""
        size = len(frame)
        if type(answer) is not Exclusive and _is_produce(frame):
            self._only_produces = self._only_produces or not self.answers
        else:
            self._only_produces = False
            entries = answer.entries if type(answer) is Counted else self._most_entries
            size = min(size * DECODED, 2 * size + entries * ENTRY)
        self.answers.append(answer)
        self._sizes.append(size)
        self.budgeted += size
        self._budget.take(size)

    def answered(self, answer: Answer) -> None:
        """A request was answered at once. Its answer waits for those before it."""
        self.answers.append(answer)
        self._sizes.append(0)

    def pop_finished(self, out: list[Buffer]) -> None:
        """Move the finished answers at the head to ``out``.

        :raises Exception: the error of the first answer that failed. The connection has to close.
        """
        answers = self.answers
        done = 0
        while answers:
            answer = answers[0]
            if isinstance(answer, Pending):
                if not answer.done:
                    break
                answer = answer.result()
            answers.popleft()
            done += self._sizes.popleft()
            if isinstance(answer, list):
                out += answer
            elif answer is not None:
                out.append(answer)
        if not answers:
            self._only_produces = True
        self.budgeted -= done
        self._budget.give(done)

    def abandon(self) -> None:
        """The client has disconnected: drop the held frames and abandon the requests in flight."""
        self.held.clear()
        for answer in self.answers:
            if isinstance(answer, Pending):
                answer.abandon()
        self.answers.clear()
        self._sizes.clear()
        budgeted, self.budgeted = self.budgeted, 0
        self._budget.give(budgeted)
