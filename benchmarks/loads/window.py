"""The stretch of a load that is measured; whoever started the load reads the server's clocks at both ends."""

from __future__ import annotations

import gc
import resource
import sys
import time
from types import TracebackType
from typing import Self


class Window:
    """``with window:`` around what is to be measured. What comes before is warm-up.

    Says ``begin`` and ``end`` on stdout and goes on when a line comes on stdin.
    """

    seconds = 0.0
    client_cpu = 0.0

    def __enter__(self) -> Self:
        gc.collect()
        gc.freeze()
        gc.disable()
        self._say("begin")
        self._cpu = _own_cpu()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._start
        self.client_cpu = _own_cpu() - self._cpu
        if error is None:
            self._say("end")

    @staticmethod
    def _say(word: str) -> None:
        print(word, flush=True)
        sys.stdin.readline()


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def percentile(ordered: list[int], share: float) -> float:
    """Of sorted values, in thousandths of their unit (ns in, us out)."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000
