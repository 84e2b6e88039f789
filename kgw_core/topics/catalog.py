"""The catalog of topics: the store's topics in memory. Only the catalog creates, changes and deletes topics.

A request looks a topic up in ``Catalog.by_name`` or ``Catalog.by_id`` (16 bytes), plain dictionaries. It
finds the same :class:`TopicState` as long as the topic exists. Changes go to the store first, and appear here
when the store has them. Rules:

1. Changes of one name are made one at a time, as rule 4 of the store's contract promises. Names that differ
   only in '.' and '_' count as one, as only one of them may exist.
2. A change that has begun is completed even if its caller is cancelled, so that store and catalog agree.
3. If the outcome of a change is unknown, the catalog asks the store and follows its answer.
4. Names, configs and limits are checked before the store is called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID, uuid4

import anyio
import anyio.lowlevel

from kgw_core.errors import (
    InvalidPartitions,
    InvalidRequest,
    InvalidTopicException,
    KafkaError,
    KafkaStorageError,
    NotController,
    TopicAlreadyExists,
    UnknownTopicOrPartition,
)
from kgw_core.spi.storage import LogStore, Topic, TopicConflict
from kgw_core.topics.configs import TopicConfigs, usable, validate
from kgw_core.topics.index import P, TopicIndex, TopicState
from kgw_core.topics.keyed_locks import KeyedLocks
from kgw_core.topics.names import check_name, is_hidden, reserved_like, unified

__all__ = ["NO_ID", "Catalog", "TopicState"]

logger = logging.getLogger(__name__)

_TRIES = 5
"""How often a change of a topic is attempted if others change it at the same time."""

NO_ID = UUID(int=0)
"""The id of a topic that was only validated."""

_AT_ONCE = 256
"""How many partitions are made before the event loop serves others."""


class Catalog(TopicIndex[P]):
    """See the module's docstring.

    ``broker_defaults`` are the configs of all topics that do not set them. ``max_topics`` and
    ``max_partitions`` limit the creation of topics, except internal ones. ``log_factory(state, index)`` makes
    the log of a partition, without waiting.

    :raises InvalidConfig: ``broker_defaults`` are not valid.
    """

    def __init__(
        self,
        store: LogStore,
        *,
        broker_defaults: Mapping[str, str] | None = None,
        max_topics: int = 10_000,
        max_partitions: int = 100_000,
        log_factory: Callable[[TopicState[P], int], P] | None = None,
    ) -> None:
        super().__init__(max_topics=max_topics, max_partitions=max_partitions)
        self.broker_defaults = dict(broker_defaults or {})
        self.log_factory = log_factory
        self._store = store
        self._plain = TopicConfigs.of({}, self.broker_defaults)
        self._locks = KeyedLocks()

    async def load(self) -> None:
        """Read the store's topics. Call this once, before clients are served.

        Invalid configs are logged and ignored. A topic that Kafka's protocol cannot name is logged and
        skipped.

        :raises KafkaError: the store cannot list its topics.
        """
        for topic in await self._store.topics():
            if self._is_visible(topic):
                self._enter(await self._made(topic))

    def _is_visible(self, topic: Topic) -> bool:
        """Whether clients may see a topic of the store that is not in the catalog."""
        if is_hidden(topic.name):
            return False
        try:
            check_name(topic.name)
        except InvalidTopicException as error:
            logger.error("topic %s is skipped: %s", topic.id, error)
            return False
        if topic.partitions <= 0 or topic.name in self.by_name or topic.id.bytes in self.by_id:
            logger.error("topic %s (%s) is skipped: no partitions, or a duplicate", topic.name, topic.id)
            return False
        return True

    async def create(
        self,
        name: str,
        partitions: int,
        configs: Mapping[str, str | None] | None = None,
        *,
        topic_id: UUID | None = None,
        validate_only: bool = False,
    ) -> TopicState[P]:
        """Create a topic. With ``validate_only`` the result is in no catalog and has no id.

        ``topic_id`` is random by default.

        :raises InvalidTopicException: the name is not allowed, or collides with another topic's.
        :raises TopicAlreadyExists: the name is taken.
        :raises InvalidConfig: see :func:`~kgw_core.topics.configs.validate`.
        :raises InvalidPartitions: there is not at least one partition.
        :raises InvalidRequest: ``topic_id`` is taken.
        :raises PolicyViolation: there would be too many topics or partitions.
        :raises KafkaStorageError: the store failed.
        """
        check_name(name)
        async with self._locks.of(unified(name)):
            overrides = self._check_new(name, partitions, configs or {}, topic_id)
            if validate_only:
                planned = Topic(name, topic_id or NO_ID, partitions, overrides)
                return TopicState(planned, self._effective(overrides))
            topic = Topic(name, topic_id or self._draw_id(), partitions, overrides)
            with anyio.CancelScope(shield=True):
                state = await self._create(topic)
            return state

    async def ensure(
        self, name: str, partitions: int, configs: Mapping[str, str | None] | None = None
    ) -> TopicState[P]:
        """The topic ``name``; it is created if it does not exist. Concurrent callers get the same topic.

        :raises KafkaError: as :meth:`create`, but for TopicAlreadyExists.
        """
        state = self.by_name.get(name)
        if state is not None:
            return state
        try:
            return await self.create(name, partitions, configs)
        except TopicAlreadyExists:
            if name not in self.by_name:
                raise
            return self.by_name[name]

    async def delete(self, key: str | bytes | UUID) -> TopicState[P]:
        """Delete the topic of that name or id with its data.

        :raises UnknownTopicOrPartition: no topic has that name.
        :raises UnknownTopicId: no topic has that id.
        :raises KafkaStorageError: the store failed; the topic still exists.
        """
        async with self._locks.of(unified(self.find(key).name)):
            state = self.find(key)
            with anyio.CancelScope(shield=True):
                await self._delete(state)
            return state

    async def alter(
        self,
        name: str,
        change: Callable[[Mapping[str, str]], Mapping[str, str | None]],
        *,
        validate_only: bool = False,
    ) -> TopicState[P]:
        """Replace the topic's overrides by ``change(overrides)``, atomically.

        :raises UnknownTopicOrPartition: no such topic.
        :raises InvalidConfig: the new overrides are not valid.
        :raises KafkaStorageError: the store failed; the overrides are unchanged.
        """

        def altered(topic: Topic) -> Topic:
            overrides = self._check(change(topic.configs))
            return Topic(topic.name, topic.id, topic.partitions, overrides)

        return await self._change(name, altered, validate_only)

    async def set_configs(
        self, name: str, configs: Mapping[str, str | None], *, validate_only: bool = False
    ) -> TopicState[P]:
        """Replace the topic's overrides. :raises KafkaError: as :meth:`alter`."""
        return await self.alter(name, lambda _: configs, validate_only=validate_only)

    async def add_partitions(self, name: str, total: int, *, validate_only: bool = False) -> TopicState[P]:
        """Increase the topic's partitions to ``total``.

        :raises UnknownTopicOrPartition: there is no such topic.
        :raises InvalidPartitions: ``total`` is no increase.
        :raises PolicyViolation: there would be too many partitions.
        :raises KafkaStorageError: the store failed.
        """

        def grown(topic: Topic) -> Topic:
            if total <= topic.partitions:
                raise InvalidPartitions(
                    f"topic '{name}' has {topic.partitions} partition(s); {total} would not be an increase"
                )
            self._check_limits(name, 0, total - topic.partitions)
            return Topic(name, topic.id, total, topic.configs)

        return await self._change(name, grown, validate_only)

    async def _change(
        self, name: str, change: Callable[[Topic], Topic], validate_only: bool
    ) -> TopicState[P]:
        """Replace the topic by ``change(topic)``. Retry if others have changed it meanwhile."""
        async with self._locks.of(unified(name)):
            for _ in range(_TRIES):
                state = self.find(name)
                topic = change(state.topic)
                if validate_only or topic == state.topic:
                    return state
                try:
                    await self._update(state, topic)
                except TopicConflict as conflict:
                    await self._take_over(state, conflict.found)
                else:
                    return state
            raise NotController(f"topic '{name}' was changed by others in each of {_TRIES} tries")

    async def refresh(self) -> None:
        """Apply the changes of others in the store. :raises Exception: the store cannot list its topics."""
        found = {topic.id.bytes: topic for topic in await self._store.topics()}
        # Deleted topics first, as new ones may have taken their names.
        for state in [state for state in self.by_id.values() if state.id_bytes not in found]:
            async with self._locks.of(unified(state.name)):
                still = {topic.id for topic in await self._store.topics()}
                if not state.deleted and state.id not in still:  # made meanwhile
                    await self._leave(state)
        for topic in found.values():
            async with self._locks.of(unified(topic.name)):
                known = self.by_id.get(topic.id.bytes)
                if known is None:
                    await self._adopt(topic.name)
                elif known.stored != topic:  # or this gateway has changed it meanwhile
                    now = next((each for each in await self._store.topics() if each.id == topic.id), topic)
                    if known.stored != now and known.topic.partitions <= now.partitions:
                        await self._take_over(known, now)

    async def set_defaults(self, broker_defaults: Mapping[str, str]) -> None:
        """Change the configs of all topics that do not set them. Calls must not overlap.

        :raises InvalidConfig: ``broker_defaults`` are not valid.
        """
        if broker_defaults == self.broker_defaults:
            return
        self._plain = TopicConfigs.of({}, broker_defaults)
        self.broker_defaults = dict(broker_defaults)
        for index, state in enumerate(list(self.by_name.values())):
            state.configs = self._effective(state.topic.configs)
            if index % _AT_ONCE == _AT_ONCE - 1:
                await anyio.lowlevel.checkpoint()

    # -- the rules of a change

    def _check_new(
        self, name: str, partitions: int, configs: Mapping[str, str | None], topic_id: UUID | None
    ) -> dict[str, str]:
        if name in self.by_name:
            raise TopicAlreadyExists(f"Topic '{name}' already exists.")
        if is_hidden(name):
            raise InvalidTopicException(f"Topic name is invalid: '{name}' is the gateway's own")
        others = self._by_unified.get(unified(name))
        other = min(others) if others else reserved_like(name)
        if other is not None:
            raise InvalidTopicException(
                f"Topic '{name}' collides with existing topic: {other}"
                " (in the names of metrics '.' and '_' are the same)"
            )
        overrides = self._check(configs)
        if partitions <= 0:
            raise InvalidPartitions(f"topic '{name}' cannot have {partitions} partitions: at least 1")
        if topic_id is not None and (topic_id.bytes in self.by_id or topic_id.int <= 1):
            raise InvalidRequest(f"topic id {topic_id} is taken or reserved")
        self._check_limits(name, 1, partitions)
        return overrides

    def _check(self, configs: Mapping[str, str | None]) -> dict[str, str]:
        validate(configs, self.broker_defaults)
        return {name: text for name, text in configs.items() if text is not None}

    def _effective(self, overrides: Mapping[str, str]) -> TopicConfigs:
        return TopicConfigs.of(overrides, self.broker_defaults) if overrides else self._plain

    def _draw_id(self) -> UUID:
        """A random id. As in Kafka, its base64 never begins with '-'."""
        while True:
            topic_id = uuid4()
            if topic_id.bytes[0] >> 2 != 62 and topic_id.bytes not in self.by_id:
                return topic_id

    # -- a change itself; the caller has its turn and is shielded

    async def _create(self, topic: Topic) -> TopicState[P]:
        with self._reserved(topic.name, 1, topic.partitions):
            try:
                await self._store.create_topic(topic)
            except TopicAlreadyExists:
                await self._adopt(topic.name)
                raise
            except KafkaError:
                raise
            except Exception as error:
                if await self._stored(topic, error) is None:
                    raise _failed("create", topic, error) from error
            state = await self._made(topic)
        self._enter(state)
        self._tell("created", state)
        return state

    async def _adopt(self, name: str) -> None:
        """Add a topic that another writer has created in the store."""
        for topic in await self._store.topics():
            if topic.name == name and topic.id.bytes not in self.by_id and self._is_visible(topic):
                state = await self._made(topic)
                self._enter(state)
                self._tell("created", state)

    async def _update(self, state: TopicState[P], topic: Topic) -> None:
        more = topic.partitions - state.topic.partitions
        with anyio.CancelScope(shield=True), self._reserved(topic.name, 0, more):
            try:
                await self._store.update_topic(topic, state.stored)
            except UnknownTopicOrPartition:
                await self._leave(state)
                raise
            except (KafkaError, TopicConflict):
                raise
            except Exception as error:
                found = await self._stored(topic, error)
                if found is None or (found.partitions, found.configs) != (topic.partitions, topic.configs):
                    raise _failed("update", topic, error) from error
            added = await self._logs(state, state.topic.partitions, topic.partitions)
        self._became(state, topic, added)

    def _became(self, state: TopicState[P], topic: Topic, added: Sequence[P]) -> None:
        self._count(topic.name, 0, len(added))
        state.partitions.extend(added)
        state.configs = self._effective(topic.configs)
        state.topic = state.stored = topic
        self._tell("updated", state)

    async def _take_over(self, state: TopicState[P], found: Topic) -> None:
        """Update a topic that others have changed to ``found``."""
        topic = self._usable(found)
        added = await self._logs(state, state.topic.partitions, found.partitions)
        self._became(state, topic, added)
        state.stored = found

    async def _delete(self, state: TopicState[P]) -> None:
        try:
            await self._store.delete_topic(state.id)
        except UnknownTopicOrPartition:
            await self._leave(state)
            raise
        except KafkaError:
            raise
        except Exception as error:
            if await self._stored(state.topic, error) is not None:
                raise _failed("delete", state.topic, error) from error
        await self._leave(state)

    async def _stored(self, topic: Topic, error: Exception) -> Topic | None:
        """The store's version of ``topic`` after ``error``. :raises KafkaStorageError: the store fails
        again."""
        try:
            return next((found for found in await self._store.topics() if found.id == topic.id), None)
        except Exception:
            raise _failed("change", topic, error) from error

    async def _made(self, topic: Topic) -> TopicState[P]:
        """The state of a topic of the store that is not in the catalog yet."""
        valid = self._usable(topic)
        state: TopicState[P] = TopicState(valid, self._effective(valid.configs))
        state.stored = topic
        state.partitions = await self._logs(state, 0, topic.partitions)
        state.configs = self._effective(valid.configs)  # the defaults may have changed meanwhile
        return state

    def _usable(self, topic: Topic) -> Topic:
        """``topic`` without the configs that are not valid."""
        valid, problems = usable(topic.configs) if topic.configs else ({}, [])
        for problem in problems:
            logger.error("topic %s: config left out: %s", topic.name, problem)
        return Topic(topic.name, topic.id, topic.partitions, valid) if problems else topic

    async def _logs(self, state: TopicState[P], first: int, end: int) -> list[P]:
        if self.log_factory is None:
            return []
        logs = []
        for index in range(first, end):
            logs.append(self.log_factory(state, index))
            if index % _AT_ONCE == _AT_ONCE - 1:
                await anyio.lowlevel.checkpoint()
        return logs


def _failed(verb: str, topic: Topic, error: Exception) -> KafkaStorageError:
    logger.error("the store failed to %s topic %s", verb, topic.name, exc_info=error)
    return KafkaStorageError(f"the store failed to {verb} topic '{topic.name}': {type(error).__name__}")
