"""Topics in memory: the state of a topic, and the dictionaries in which requests look topics up."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar
from uuid import UUID

from kgw_core.errors import PolicyViolation, UnknownTopicId, UnknownTopicOrPartition
from kgw_core.spi.storage import Topic, TopicPartition
from kgw_core.topics.configs import TopicConfigs
from kgw_core.topics.names import is_internal, unified

logger = logging.getLogger(__name__)

P = TypeVar("P")
"""The type of a partition's log: PartitionLog in the gateway."""


class TopicState(Generic[P]):
    """A topic. The object is the same until the topic is deleted, when ``deleted`` becomes true.

    ``partitions[i]`` is the log of partition ``i``, made by the catalog's ``log_factory``. ``id_bytes`` are
    the 16 bytes of ``id``. ``topic`` has the valid overrides in ``topic.configs``; ``stored`` is the store's
    version with all overrides.
    """

    __slots__ = (
        "configs",
        "deleted",
        "id",
        "id_bytes",
        "is_internal",
        "name",
        "partitions",
        "stored",
        "topic",
    )

    def __init__(self, topic: Topic, configs: TopicConfigs) -> None:
        self.name = topic.name
        self.id = topic.id
        self.id_bytes = topic.id.bytes
        self.topic = self.stored = topic
        self.configs = configs
        self.partitions: list[P] = []
        self.deleted = False
        self.is_internal = is_internal(topic.name)

    def __repr__(self) -> str:
        return f"<topic {self.name} {self.id}{' deleted' if self.deleted else ''}>"


class TopicIndex(Generic[P]):
    """The topics by name and by id, their counts, and the listeners of changes.

    ``by_name``, ``by_id`` (16 bytes) and ``by_key`` (both) are plain dictionaries to read. No method waits.
    ``max_topics`` and ``max_partitions`` limit new topics, except internal ones.
    """

    def __init__(self, *, max_topics: int, max_partitions: int) -> None:
        self.by_name: dict[str, TopicState[P]] = {}
        self.by_id: dict[bytes, TopicState[P]] = {}
        self.by_key: dict[str | bytes, TopicState[P]] = {}
        self.max_topics = max_topics
        self.max_partitions = max_partitions
        self._by_unified: dict[str, list[str]] = {}
        self._topics = 0  # counted against the limits, with topics that are being created
        self.partition_count = 0
        """The partitions of all topics that are not internal. Read-only."""
        self._listeners: dict[str, list[Callable[[TopicState[P]], object]]] = {
            "created": [],
            "updated": [],
            "deleted": [],
        }

    def partition(self, tp: TopicPartition) -> P | None:
        """The log of a partition, or None."""
        state = self.by_id.get(tp.topic_id.bytes)
        if state is None or not 0 <= tp.partition < len(state.partitions):
            return None
        return state.partitions[tp.partition]

    def find(self, key: str | bytes | UUID) -> TopicState[P]:
        """The topic of that name or id (16 bytes or UUID).

        :raises UnknownTopicOrPartition: no topic has that name.
        :raises UnknownTopicId: no topic has that id.
        """
        if isinstance(key, str):
            state = self.by_name.get(key)
            if state is None:
                raise UnknownTopicOrPartition(f"there is no topic '{key}'")
            return state
        id_bytes = key.bytes if isinstance(key, UUID) else key
        state = self.by_id.get(id_bytes)
        if state is None:
            raise UnknownTopicId(f"there is no topic with id {id_bytes.hex()}")
        return state

    def id_of(self, name: str) -> bytes | None:
        """The 16 bytes of the topic's id, or None if there is no such topic."""
        state = self.by_name.get(name)
        return state.id_bytes if state is not None else None

    def on_created(self, callback: Callable[[TopicState[P]], object]) -> None:
        """Call ``callback`` with each topic that is created from now on."""
        self._listeners["created"].append(callback)

    def on_updated(self, callback: Callable[[TopicState[P]], object]) -> None:
        """Call ``callback`` with each topic whose configs or partitions have changed."""
        self._listeners["updated"].append(callback)

    def on_deleted(self, callback: Callable[[TopicState[P]], object]) -> None:
        """Call ``callback`` with each deleted topic, after its removal from the catalog. An awaitable result
        is awaited before the name may be used again."""
        self._listeners["deleted"].append(callback)

    # -- for the catalog

    def _enter(self, state: TopicState[P]) -> None:
        self._count(state.name, 1, state.topic.partitions)
        self.by_name[state.name] = state
        self.by_id[state.id_bytes] = state
        self.by_key[state.name] = self.by_key[state.id_bytes] = state
        self._by_unified.setdefault(unified(state.name), []).append(state.name)

    async def _leave(self, state: TopicState[P]) -> None:
        state.deleted = True
        del self.by_name[state.name]
        del self.by_id[state.id_bytes]
        del self.by_key[state.name], self.by_key[state.id_bytes]
        key = unified(state.name)
        self._by_unified[key].remove(state.name)
        if not self._by_unified[key]:
            del self._by_unified[key]
        self._count(state.name, -1, -state.topic.partitions)
        for unfinished in self._tell("deleted", state):
            try:
                await unfinished
            except Exception:
                logger.exception("a listener failed when topic %s was deleted", state.name)
        state.partitions = []  # which refer to the topic in turn

    def _tell(self, event: str, state: TopicState[P]) -> list[Awaitable[object]]:
        """Call the listeners; return their awaitable results."""
        unfinished: list[Awaitable[object]] = []
        for callback in self._listeners[event]:
            try:
                result = callback(state)
            except Exception:
                logger.exception("a listener failed when topic %s was %s", state.name, event)
            else:
                if inspect.isawaitable(result):
                    unfinished.append(result)
        return unfinished

    def _count(self, name: str, topics: int, partitions: int) -> None:
        if not is_internal(name):
            self._topics += topics
            self.partition_count += partitions

    def _check_limits(self, name: str, topics: int, partitions: int) -> None:
        if is_internal(name):
            return
        if self._topics + topics > self.max_topics:
            raise PolicyViolation(f"there are {self._topics} topics, max_topics is {self.max_topics}")
        if self.partition_count + partitions > self.max_partitions:
            raise PolicyViolation(
                f"{partitions} partitions more than the {self.partition_count} there are "
                f"would be over max_partitions = {self.max_partitions}"
            )

    @contextmanager
    def _reserved(self, name: str, topics: int, partitions: int) -> Iterator[None]:
        """Count new topics while the store creates them, so that concurrent changes keep the limits."""
        self._count(name, topics, partitions)
        try:
            yield
        finally:
            self._count(name, -topics, -partitions)
