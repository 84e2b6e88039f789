"""When CPython's garbage collector looks, and at what: never for long, however much the gateway keeps.

What a gateway keeps (topics, logs, sessions, groups) lives long and grows. CPython looks at all of it again
whenever a quarter more has come: with 100,000 partitions that held the event loop for 0.8 s. Here every full
look is the last one at what it finds alive: it is frozen, and the next one has to do with what came since.
What is frozen is freed like everything else when nobody refers to it any more. Only a cycle of objects would
stay for ever, so the gateway lets go of none (``tests/unit/test_garbage.py``).
"""

from __future__ import annotations

import gc
from typing import Final

THRESHOLD: Final = (5_000, 5, 2)
"""Objects that come to be, net, before the youngest are looked at; looks at those before one at those that
were left over, and looks at these before a full one.

The first: a commit of a store answers some dozens of requests, and all of theirs live until then: with 700,
CPython's own, it looked at those in vain, for 5 % of the CPU. More would make it look at too many at once.
The last: a full look has at most 90,000 objects to look at, some 10 ms."""


def keep_short() -> None:
    """Freeze what is there now, and what later full looks find."""
    gc.freeze()
    gc.set_threshold(*THRESHOLD)
    if _freeze not in gc.callbacks:
        gc.callbacks.append(_freeze)


def _freeze(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()
