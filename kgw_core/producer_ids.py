"""Producer ids, unique in the cluster for all time. Kafka's ProducerIdManager.

Ids come in blocks. A gateway takes a block by compare-and-set of the first free id, which the state keeps. So
no id is given out twice, neither by several gateways on one state nor after a restart. A gateway's first
block begins at least at its start time in milliseconds times 2**20. So ids do not repeat if the state is
lost, restored from an old backup, or only in memory. (2**63 / 2**20 ms suffices until the year 2248.)
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
"""The key of the first free id, in decimal digits."""
BLOCK: Final = 1_000
"""The ids of a block, as in Kafka."""
_START_BITS: Final = 20
_LAST_START: Final = (1 << 62) - 1
"""The highest start from a clock, as ids have to stay below 2**63."""


class ProducerIds:
    """Gives out ids > 0, those of a block in rising order."""

    def __init__(self, state: StateStore, clock: Clock) -> None:
        self._state = state
        self._first = min(max(clock.time_ms() << _START_BITS, 1), _LAST_START)
        self._next = self._end = 0
        self._taking = anyio.Lock()

    def next_now(self) -> int | None:
        """A new producer id; None if a new block is needed."""
        if self._next == self._end:
            return None
        self._next += 1
        return self._next - 1

    async def next(self) -> int:
        """A new producer id.

        :raises CoordinatorLoadInProgress: the state gives no block now. Kafka uses this error, as all clients
            retry it.
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
        """The first free id after taking a block."""
        return b"%d" % (max(int(free or 0), self._first if self._end == 0 else 0) + BLOCK)
