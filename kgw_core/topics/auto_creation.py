"""Kafka's AutoTopicCreationManager: creates topics that clients ask for, but not just after their deletion.

A client goes on asking for a topic that was deleted. With auto-creation it would create it again, empty,
before it sees the deletion. So for a moment after its deletion a topic is not auto-created; CreateTopics
works at once. (In Apache Kafka the creation itself takes that long, and the first requests get a retriable
error. Here the topic exists with the first answer.)
"""

from __future__ import annotations

from collections import deque
from typing import Final

from kgw_core.clock import Clock
from kgw_core.errors import UnknownTopicOrPartition
from kgw_core.topics.catalog import Catalog
from kgw_core.topics.index import P, TopicState

HOLD_SECONDS: Final = 1.0


class AutoCreation:
    """Creates topics with ``partitions`` partitions in ``catalog``."""

    def __init__(self, catalog: Catalog[P], partitions: int, clock: Clock) -> None:
        self._catalog = catalog
        self._partitions = partitions
        self._clock = clock
        self._gone: dict[str, float] = {}
        self._order: deque[tuple[float, str]] = deque()
        catalog.on_deleted(self._deleted)

    async def ensure(self, name: str) -> None:
        """Create the topic ``name`` if it does not exist.

        :raises UnknownTopicOrPartition: it was deleted less than :data:`HOLD_SECONDS` ago.
        :raises KafkaError: as :meth:`Catalog.create <kgw_core.topics.catalog.Catalog.create>`.
        """
        self._forget()
        if name in self._gone and name not in self._catalog.by_name:
            raise UnknownTopicOrPartition(
                f"topic '{name}' was deleted a moment ago; it is not made again yet"
            )
        await self._catalog.ensure(name, self._partitions)

    def _deleted(self, state: TopicState[P]) -> None:
        self._forget()
        now = self._clock.monotonic()
        self._gone[state.name] = now
        self._order.append((now, state.name))

    def _forget(self) -> None:
        limit = self._clock.monotonic() - HOLD_SECONDS
        while self._order and self._order[0][0] <= limit:
            at, name = self._order.popleft()
            if self._gone.get(name) == at:
                del self._gone[name]
