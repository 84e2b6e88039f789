"""Leads the vacant logs of this gateway if several gateways share the logs, and resigns at the stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import anyio.lowlevel

from kgw_core.background import Background, Faults
from kgw_core.log.openers import Openers
from kgw_core.log.partition import PartitionLog
from kgw_core.placement import Placement
from kgw_core.spi.ledger import OffsetLedger

logger = logging.getLogger(__name__)

STEP = 250
"""How many logs are checked before the event loop serves others."""


class Leading:
    """``logs`` returns all logs. :meth:`due` is called when some may have lost their leader."""

    def __init__(
        self,
        logs: Callable[[], Iterable[PartitionLog]],
        openers: Openers,
        placement: Placement,
        ledger: OffsetLedger,
        background: Background,
    ) -> None:
        self._logs = logs
        self._openers = openers
        self._placement = placement
        self._ledger = ledger
        self._chore = background.chore("leading partitions", self._look)
        self.due = self._chore.due

    async def _look(self) -> None:
        for number, log in enumerate(list(self._logs()), 1):
            if not log.ready and not log.topic.deleted and self._placement.is_vacant(log.tp):
                self._openers.open(log)
            if number % STEP == 0:
                await anyio.lowlevel.checkpoint()

    async def resign(self) -> None:
        """Resign all leaderships, so that others take over at once. Nothing may be in flight.

        :raises PartlyFailed: the ledger failed on some; their leases have to expire.
        """
        await self._chore.stop()
        faults = Faults("partition(s)")
        for log in list(self._logs()):
            if log.ready:
                log.ready = False
                try:
                    await self._ledger.resign(log.tp, log.leader_epoch)
                except Exception as error:
                    faults.add(log.tp, error)
        faults.tell()
