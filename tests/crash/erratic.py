"""A storage plugin: SQLite, with faults by chance. It is installed nowhere; :mod:`tests.crash.broker` writes
the entry point for the gateway under test.

Each call may be refused (it is certain that nothing was done), may raise before or after it has done its work
(nobody knows which), and may be slow. Faults come in bursts.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import ClassVar, Final, TypeVar
from uuid import UUID

import anyio
from kgw_storage_sqlite.config import Config as SqliteConfig
from kgw_storage_sqlite.state import SqliteStateStore
from kgw_storage_sqlite.store import SqliteStore

from kgw_core.errors import KafkaStorageError
from kgw_core.spi.hookspecs import hookimpl
from kgw_core.spi.state import NO_VERSIONS, Changes, Entry, StateStore, Versions
from kgw_core.spi.storage import Append, Batch, Bounds, LogStore, Read, Run, Topic, TopicPartition

T = TypeVar("T")

BURST: Final = 1.5
"""Seconds between two changes of how many faults there are, at most."""
RATES: Final = (0.0, 0.3, 1.0, 4.0)
"""How many there are, in parts of ``faults``."""
SLOW: Final = 0.3
"""Seconds that a slow call takes longer, at most;"""
STUCK: Final = 4.0
"""one in twenty of them as much as this."""


class Injected(Exception):
    """A fault of which nobody knows whether it came before or after the work."""


class Config(SqliteConfig, frozen=True, kw_only=True):
    """``faults``: how many of all calls fail, on average. ``seed``: of the chance."""

    faults: float = 0.02
    seed: int = 0


class Luck:
    """Chooses the outcome of each call."""

    def __init__(self, config: Config) -> None:
        self._chance = random.Random(config.seed)
        self._faults = config.faults
        self._rate = 0.0
        self._until = 0.0

    async def changing(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call that changes something."""
        await self._slow()
        kind = self.kind()
        if kind == "refused":
            raise KafkaStorageError("injected: refused")
        if kind == "before":
            raise Injected("before")
        result = await call()
        await self._slow()
        if kind == "after":
            raise Injected("after")
        return result

    async def asking(self) -> None:
        """A call that changes nothing."""
        await self._slow()
        kind = self.kind()
        if kind == "refused":
            raise KafkaStorageError("injected: not now")
        if kind is not None:
            raise Injected("asking")

    def kind(self) -> str | None:
        if self._chance.random() >= self._now():
            return None
        return self._chance.choice(("refused", "before", "after"))

    async def _slow(self) -> None:
        if self._chance.random() < self._now():
            longest = STUCK if self._chance.random() < 0.05 else SLOW
            await anyio.sleep(self._chance.uniform(0.0, longest))

    def _now(self) -> float:
        now = time.monotonic()
        if now >= self._until:
            self._until = now + self._chance.uniform(0.0, BURST)
            self._rate = self._faults * self._chance.choice(RATES)
        return self._rate


class ErraticStore(SqliteStore):
    """SQLite under :class:`Luck`."""

    name = "erratic"
    Config: ClassVar[type[Config]] = Config  # type: ignore[assignment]

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._luck = Luck(config)

    def state_store(self) -> StateStore:
        return ErraticState(self)

    async def topics(self) -> Sequence[Topic]:
        await self._luck.asking()
        return await super().topics()

    async def create_topic(self, topic: Topic) -> None:
        await self._luck.changing(lambda: super(ErraticStore, self).create_topic(topic))

    async def update_topic(self, topic: Topic, before: Topic) -> None:
        await self._luck.changing(lambda: super(ErraticStore, self).update_topic(topic, before))

    async def delete_topic(self, topic_id: UUID) -> None:
        await self._luck.changing(lambda: super(ErraticStore, self).delete_topic(topic_id))

    async def append_many(self, appends: Sequence[Append]) -> list[Sequence[int] | Exception]:
        """Some of them may fail by themselves, and all together."""
        return await self._luck.changing(lambda: self._append_each(appends))

    async def _append_each(self, appends: Sequence[Append]) -> list[Sequence[int] | Exception]:
        kinds = [self._luck.kind() for _ in appends]
        kept = [append for append, kind in zip(appends, kinds, strict=True) if kind in (None, "after")]
        stored = iter(await super().append_many(kept) if kept else [])
        outcomes: list[Sequence[int] | Exception] = []
        for kind in kinds:
            if kind == "refused":
                outcomes.append(KafkaStorageError("injected: refused"))
            elif kind == "before":
                outcomes.append(Injected("before"))
            else:
                outcome = next(stored)
                certain = isinstance(outcome, Exception)
                outcomes.append(outcome if kind is None or certain else Injected("after"))
        return outcomes

    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch], epoch: int = 0
    ) -> bool:
        replace = super().replace
        return await self._luck.changing(lambda: replace(tp, first, last, batches, epoch))

    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        await self._luck.changing(lambda: super(ErraticStore, self).trim(tp, before, epoch))

    async def fence(self, tp: TopicPartition, epoch: int) -> Bounds:
        return await self._luck.changing(lambda: super(ErraticStore, self).fence(tp, epoch))

    async def bounds(self, tp: TopicPartition) -> Bounds:
        await self._luck.asking()
        return await super().bounds(tp)

    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        await self._luck.asking()
        return await super().read(tp, offset, max_bytes, below)

    async def read_many(self, reads: Sequence[Read]) -> list[Sequence[Run] | Exception]:
        await self._luck.asking()
        return await super().read_many(reads)

    async def find_time(self, tp: TopicPartition, timestamp: int) -> int | None:
        await self._luck.asking()
        return await super().find_time(tp, timestamp)

    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        await self._luck.asking()
        return await super().write_time(tp, offset)


class ErraticState(SqliteStateStore):
    """The state in the same database, under the same luck."""

    name = "erratic"

    def __init__(self, store: ErraticStore) -> None:
        super().__init__(store._settings, database=store.database)
        self._luck = store._luck

    async def get(self, key: bytes) -> Entry | None:
        await self._luck.asking()
        return await super().get(key)

    async def scan(self, prefix: bytes) -> AsyncIterator[Entry]:
        await self._luck.asking()
        count = 0
        async for entry in super().scan(prefix):
            yield entry
            count += 1
            if count % 20 == 0:
                await self._luck.asking()

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        return await self._luck.changing(lambda: super(ErraticState, self).commit(changes, if_versions))


def is_injected(last_line: str) -> bool:
    """Whether a traceback that ends with this line tells of a fault from here."""
    return "Injected" in last_line or "injected" in last_line


@hookimpl
def kgw_register_storage() -> list[type[LogStore]]:
    return [ErraticStore]
