"""The order of one connection's requests: which may start, and which answers may leave.

Requests start in the order of their arrival, and answers leave in it. A request starts when everything before
it has been answered, except that a Produce may overlap earlier Produces (clients rely on both), unless one of
them is appended in steps. What may not start yet is held.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING

from kgw_core.api.produce_legacy import FIRST_V2
from kgw_core.pending import Alone, Few, Pending
from kgw_core.server.dispatch import Answer

if TYPE_CHECKING:
    from kgw_core.budget import Budget
    from kgw_core.wire import Buffer

DECODED = 32
"""How many times its bytes a request that has to wait may take once it is decoded, as entries of a few bytes
become objects; measured with a Fetch of many partitions: 26. Batches stay the bytes they are."""
ENTRY = 1 << 10
"""What one entry takes at most, where it is known how many there are. Members that join with the names of
thousands of topics are few entries, and hundreds of them have to fit, as they wait for each other."""

_PRODUCE = 0
_KEY_AND_VERSION = struct.Struct(">hh")


def _is_produce(frame: memoryview) -> bool:
    """Whether the request is one that may overlap others: older Produces are converted first."""
    if len(frame) < _KEY_AND_VERSION.size:
        return False
    key, version = _KEY_AND_VERSION.unpack_from(frame)
    return bool(key == _PRODUCE and version >= FIRST_V2)


class Line:
    """The requests that are held or not answered yet, at most ``most``, each of at most ``entries`` entries.

    ``answers``: theirs, in order; the first is never finished. ``held``: frames that may not start yet.
    ``kept``: the bytes of the budget that all of them take.
    """

    __slots__ = ("_budget", "_most", "_most_entries", "_only_produces", "_sizes", "answers", "held", "kept")

    def __init__(self, budget: Budget, most: int, entries: int) -> None:
        self.answers: deque[Pending[Answer] | Answer] = deque()
        self.held: deque[memoryview] = deque()
        self.kept = 0
        self._budget = budget
        self._most = most
        self._most_entries = entries
        self._sizes: deque[int] = deque()  # for each of the answers: what it keeps of the budget
        self._only_produces = True  # whether all of them belong to Produce

    def may_follow(self, frame: memoryview) -> bool:
        """Whether this request may start though others are not answered yet."""
        return not self.held and self._may_overlap(frame)

    def _may_overlap(self, frame: memoryview) -> bool:
        return self._only_produces and len(self.answers) < self._most and _is_produce(frame)

    def hold(self, frame: memoryview, stable: bool) -> None:
        """This one may not start yet. ``stable``: its bytes stay as they are."""
        if not stable:
            frame = memoryview(bytearray(frame))
        self.held.append(frame)
        self.kept += len(frame)
        self._budget.take(len(frame))

    def next_held(self) -> memoryview | None:
        """The first that was held, if it may start. Its bytes of the budget are the caller's to give back."""
        if not self.held or (self.answers and not self._may_overlap(self.held[0])):
            return None
        frame = self.held.popleft()
        self.kept -= len(frame)
        return frame

    def started(self, frame: memoryview, answer: Pending[Answer]) -> None:
        """This one has started, and its answer is not there yet."""
        size = len(frame)
        if type(answer) is not Alone and _is_produce(frame):
            self._only_produces = self._only_produces or not self.answers
        else:
            self._only_produces = False
            entries = answer.entries if type(answer) is Few else self._most_entries
            size = min(size * DECODED, 2 * size + entries * ENTRY)
        self.answers.append(answer)
        self._sizes.append(size)
        self.kept += size
        self._budget.take(size)

    def answered(self, answer: Answer) -> None:
        """One is answered at once, and its answer waits for those before it."""
        self.answers.append(answer)
        self._sizes.append(0)

    def leave(self, out: list[Buffer]) -> None:
        """Move what is finished at the head into ``out``.

        :raises Exception: what the first of them has failed with; the connection is over then.
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
        self.kept -= done
        self._budget.give(done)

    def abandon(self) -> None:
        """Nobody waits any more."""
        self.held.clear()
        for answer in self.answers:
            if isinstance(answer, Pending):
                answer.abandon()
        self.answers.clear()
        self._sizes.clear()
        kept, self.kept = self.kept, 0
        self._budget.give(kept)
