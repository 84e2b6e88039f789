"""Topics that are made because a client asked for them, and those that are not yet made again.

A client that used a topic goes on asking for it when somebody deletes it, and would bring it back, empty,
before it has seen that it is gone. So for a moment after its deletion a topic is not there, whoever asks;
creating it by CreateTopics works at once. (Apache Kafka, where creation takes as long, answers the first
requests for a topic with a retriable error; here one is there with the first answer.)
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
    """Makes topics with ``partitions`` partitions in ``catalog``."""

    def __init__(self, catalog: Catalog[P], partitions: int, clock: Clock) -> None:
        self._catalog = catalog
        self._partitions = partitions
        self._clock = clock
        self._gone: dict[str, float] = {}
        self._order: deque[tuple[float, str]] = deque()
        catalog.on_deleted(self._deleted)

    async def ensure(self, name: str) -> None:
        """Make the topic ``name`` if it is not there.

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
