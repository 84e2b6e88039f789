"""Topics in memory: what is known of one, and the dictionaries that requests look them up in."""

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
"""What stands for a partition: a PartitionLog in the gateway."""


class TopicState(Generic[P]):
    """A topic. It stays the same object while the topic lives; ``deleted`` says that it no longer does.

    ``partitions[i]`` is what the catalog's ``log_factory`` made for partition ``i``; ``id_bytes`` are the 16
    bytes of ``id``; ``topic`` has the overrides in ``topic.configs``, ``stored`` is the topic as the store
    keeps it, with overrides that are left out here.
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
    """The topics by name and by id, how many there are, and who wants to know of changes.

    ``by_name`` and ``by_id`` (16 bytes) are plain dictionaries to read. All methods are immediate.
    ``max_topics`` and ``max_partitions`` bound what may be added, internal topics aside.
    """

    def __init__(self, *, max_topics: int, max_partitions: int) -> None:
        self.by_name: dict[str, TopicState[P]] = {}
        self.by_id: dict[bytes, TopicState[P]] = {}
        self.max_topics = max_topics
        self.max_partitions = max_partitions
        self._by_unified: dict[str, list[str]] = {}
        self._topics = 0  # counted against the limits: what there is and what is being made
        self.partition_count = 0
        """Over all topics that are not internal; read it, never set it."""
        self._listeners: dict[str, list[Callable[[TopicState[P]], object]]] = {
            "created": [],
            "updated": [],
            "deleted": [],
        }

    def partition(self, tp: TopicPartition) -> P | None:
        """What stands for a partition, None where there is none."""
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
        """The 16 bytes of the id of the topic of that name, None where there is none."""
        state = self.by_name.get(name)
        return state.id_bytes if state is not None else None

    def on_created(self, callback: Callable[[TopicState[P]], object]) -> None:
        """Call ``callback`` with each topic that is made from now on, not with those found at start."""
        self._listeners["created"].append(callback)

    def on_updated(self, callback: Callable[[TopicState[P]], object]) -> None:
        """Call ``callback`` with each topic whose configs or partitions have changed."""
        self._listeners["updated"].append(callback)

    def on_deleted(self, callback: Callable[[TopicState[P]], object]) -> None:
        """Call ``callback`` with each topic that is gone: out of the catalog and marked ``deleted``. What it
        returns is awaited, if it can be, before the name may be taken again."""
        self._listeners["deleted"].append(callback)

    # -- for the catalog

    def _enter(self, state: TopicState[P]) -> None:
        self._count(state.name, 1, state.topic.partitions)
        self.by_name[state.name] = state
        self.by_id[state.id_bytes] = state
        self._by_unified.setdefault(unified(state.name), []).append(state.name)

    async def _leave(self, state: TopicState[P]) -> None:
        state.deleted = True
        del self.by_name[state.name]
        del self.by_id[state.id_bytes]
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
        """Call the listeners; return what they are not done with."""
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
        """Count them while the store works, so that changes at the same time keep to the limits together."""
        self._count(name, topics, partitions)
        try:
            yield
        finally:
            self._count(name, -topics, -partitions)
