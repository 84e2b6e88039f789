"""Leads the vacant logs of this gateway if several gateways share the logs, and resigns at the stop."""

from __future__ import annotations

import anyio.lowlevel

from kgw_core.background import Faults
from kgw_core.log.manager import LogManager
from kgw_core.log.partition import PartitionLog
from kgw_core.log.waiting import tell_closed
from kgw_core.placement import Placement

STEP = 250
"""How many logs are checked before the event loop serves others."""


class Leading:
    """The leaderships of all ``logs``. :meth:`due` is called when some logs may have lost their leader."""

    def __init__(self, logs: LogManager, placement: Placement) -> None:
        self._manager = logs
        self._openers = logs.context.openers
        self._placement = placement
        self._chore = logs.background.chore("leading partitions", self._look)
        self.due = self._chore.due

    async def _look(self) -> None:
        for number, log in enumerate(list(self._manager.logs), 1):
            if not log.ready and not log.topic.deleted and self._placement.is_vacant(log.tp):
                self._openers.open(log)
            if number % STEP == 0:
                await anyio.lowlevel.checkpoint()

    async def resign(self) -> None:
        """Resign all leaderships, so that others take over at once. Nothing may be in flight. No log opens
        after that.

        :raises PartlyFailed: the ledger failed on some; their leases have to expire.
        """
        await self._chore.stop()
        self._openers.resigned = True
        faults = Faults("partition(s)")
        logs = list(self._manager.logs)
        logs.sort(key=lambda log: not log.ready)  # a log that is being opened may take long
        for number, log in enumerate(logs, 1):
            if number % STEP == 0:
                await anyio.lowlevel.checkpoint()
            async with self._openers.lock(log.tp):
                try:
                    await self._resign(log)
                except Exception as error:
                    faults.add(log.tp, error)
        faults.tell()

    async def _resign(self, log: PartitionLog) -> None:
        ledger = self._manager.context.ledger
        if log.ready:
            log.ready = False
            tell_closed(log.waiting)
            await ledger.resign(log.tp, log.leader_epoch)
            return
        leader = ledger.leader(log.tp)  # it may lead a log that is closed, as after a failed append
        if leader is not None and leader.node_id == self._placement.node_id:
            await ledger.resign(log.tp, leader.epoch)
