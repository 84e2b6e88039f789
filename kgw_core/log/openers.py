"""Opens logs for waiting appends: a few in each turn of the event loop, as one request may name thousands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import anyio.lowlevel

from kgw_core.errors import KafkaError

if TYPE_CHECKING:
    from kgw_core.log.partition import PartitionLog

logger = logging.getLogger(__name__)

STEP: Final = 16
"""How many logs begin to open before the event loop serves others."""


class Openers:
    """Opens logs. ``spawn`` starts a coroutine that nobody waits for. A slow log delays no other."""

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._spawn = spawn
        self._due: dict[PartitionLog, None] = {}
        self._starting = False

    def open(self, log: PartitionLog) -> None:
        """Open the log soon. The log itself gives a failure to its waiting appends."""
        self._due[log] = None
        if not self._starting:
            self._starting = True
            self._spawn(self._start())

    async def _start(self) -> None:
        try:
            while self._due:
                for log in list(islice(self._due, STEP)):
                    del self._due[log]
                    self._spawn(_open(log))
                await anyio.lowlevel.checkpoint()
        finally:
            self._starting = False


async def _open(log: PartitionLog) -> None:
    try:
        await log.open()
    except KafkaError as error:
        logger.warning("%s cannot be opened: %s", log.tp, error)
