"""Producer ids: numbers that no other producer of this cluster has or had.

They come in blocks. A gateway takes one by compare-and-set of the first id that is still free, which the
state keeps; so no id is given out twice, whether by several gateways on one state or after a restart. The
first block of a gateway begins no lower than its start time in milliseconds times 2**20: so ids do not come
again either where the state is lost, restored from an old backup, or only in memory.
(2**63 / 2**20 ms leaves room until the year 2248.)
"""

from __future__ import annotations

import logging
from typing import Final

import anyio

from kgw_core.clock import Clock
from kgw_core.errors import CoordinatorLoadInProgress, KafkaError
from kgw_core.spi.state import StateStore, compare_and_set

logger = logging.getLogger("kgw")

KEY: Final = b"cluster/producer-ids"
"""Where the first id is kept that is free, in decimal digits."""
BLOCK: Final = 1_000
"""Ids that are taken at once, as by a broker of Kafka."""
_START_BITS: Final = 20
_LAST_START: Final = (1 << 62) - 1
"""A clock that is later than that counts as wrong: ids have to stay below 2**63."""


class ProducerIds:
    """Hands out ids > 0, each block in rising order."""

    def __init__(self, state: StateStore, clock: Clock) -> None:
        self._state = state
        self._first = min(max(clock.time_ms() << _START_BITS, 1), _LAST_START)
        self._next = self._end = 0
        self._taking = anyio.Lock()

    def next_now(self) -> int | None:
        """A new producer id; None where the state has to be asked for the next block."""
        if self._next == self._end:
            return None
        self._next += 1
        return self._next - 1

    async def next(self) -> int:
        """A new producer id.

        :raises CoordinatorLoadInProgress: the state gives no block now. As Kafka says it: every client tries
            again.
        """
        async with self._taking:
            while (producer_id := self.next_now()) is None:
                try:
                    self._end = int(await compare_and_set(self._state, KEY, self._after_block))
                except Exception as error:
                    if not isinstance(error, KafkaError):
                        logger.error("the state failed when producer ids were taken from it", exc_info=error)
                    raise CoordinatorLoadInProgress(f"producer ids cannot be had: {error}") from error
                self._next = self._end - BLOCK
        return producer_id

    def _after_block(self, free: bytes | None) -> bytes:
        """What is free when a block has been taken from what was."""
        return b"%d" % (max(int(free or 0), self._first if self._end == 0 else 0) + BLOCK)
