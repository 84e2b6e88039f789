"""Kafka's DynamicBrokerConfig: broker configs that are set at run time, stored in the state (KIP-226).

Each of the two resources, this broker and all brokers (the name ""), is one key of the state, so a change is
atomic. Changes are made one at a time: checked, committed, then applied. The configs in force change only
after the commit. A change whose outcome is unknown delays later ones; the clients of both get
REQUEST_TIMED_OUT when it takes too long.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import anyio
import msgspec

from kgw_core.background import Background
from kgw_core.errors import KafkaError, KafkaStorageError, NotController, NotCoordinator, RequestTimedOut
from kgw_core.pending import Pending
from kgw_core.spi.state import StateStore
from kgw_core.state.writer import StateWriter
from kgw_core.topics import dynamic_configs
from kgw_core.topics.levels import Level
from kgw_core.topics.values import DYNAMIC_BROKER_CONFIG, DYNAMIC_DEFAULT_BROKER_CONFIG, Value

logger = logging.getLogger("kgw")

PREFIX = b"configs/broker/"
"""The prefix of the keys. The resource's name follows; the value is a JSON object of texts."""

ALL = ""
"""The name of the resource for all brokers."""

_decode = msgspec.json.Decoder(dict[str, str]).decode


class DynamicConfigs:
    """The configs of this broker, whose own resource is ``name``.

    ``static`` has the configs of the gateway's settings. ``seconds`` is the timeout of a change for its
    client. ``apply`` is called after each change and applies it. With ``background``, its Health shows a
    change whose outcome is unknown.
    """

    def __init__(
        self,
        state: StateStore,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        name: str,
        static: Level,
        seconds: float,
        background: Background | None = None,
    ) -> None:
        self.name = name
        self.static = static
        self.apply: Callable[[], Awaitable[None]] = _nothing
        self._state = state
        self._writer = StateWriter(state, spawn, "configs", background)
        self._spawn = spawn
        self._seconds = seconds
        self._turn = anyio.Semaphore(1)  # not a Lock, as another task may release it
        self._sources = {name: DYNAMIC_BROKER_CONFIG, ALL: DYNAMIC_DEFAULT_BROKER_CONFIG}  # strongest first
        self._taken = False  # whether the fence is taken, so that no other writer changes the configs
        self._values: dict[str, Mapping[str, str]] = {each: {} for each in self._sources}

    @property
    def levels(self) -> list[Level]:
        """The levels of the configs, the strongest first."""
        return self._levels(self._values)

    @property
    def typed(self) -> dict[str, Value]:
        """The effective values of the dynamic configs by name."""
        return dynamic_configs.typed([self.level(name) for name in self._sources])

    def level(self, name: str) -> Level:
        """The configs that are set on the resource ``name``."""
        return Level(self._sources[name], self._values[name])

    def _levels(self, values: Mapping[str, Mapping[str, str]]) -> list[Level]:
        return [*(Level(source, values[name]) for name, source in self._sources.items()), self.static]

    async def load(self) -> None:
        """Read the stored configs. Those that are no longer valid are logged and ignored.

        A gateway also starts if the state can be read but not written, as on a full disk. The fence is then
        taken, and the configs are read again, before the first change.

        :raises KafkaError: the state cannot be read.
        """
        try:
            await self._writer.take_over()
            self._taken = True
        except KafkaError as error:
            logger.warning("configs cannot be changed at run time yet: %s", error)
        await self._read()

    async def _read(self) -> None:
        for name in self._values:
            entry = await self._state.get(PREFIX + name.encode())
            if entry is None:
                self._values[name] = {}
                continue
            try:
                valid, problems = dynamic_configs.usable(_decode(entry.value))
            except msgspec.DecodeError as error:
                valid, problems = {}, [str(error)]
            for problem in problems:
                logger.error("a config of %s is left out: %s", _called(name), problem)
            self._values[name] = valid
            if valid:
                logger.info("configs of %s, set at run time: %s", _called(name), _shown(valid))

    async def alter(
        self,
        name: str,
        change: Callable[[Mapping[str, str]], dict[str, str]],
        *,
        check_only: bool = False,
    ) -> None:
        """Replace the configs of the resource ``name`` by ``change(configs)``, or only validate the change.

        :raises InvalidRequest: as :func:`kgw_core.topics.dynamic_configs.checked`.
        :raises KafkaStorageError: the state failed, and nothing has changed.
        :raises NotController: another gateway has changed configs meanwhile; nothing has changed. The next
            attempt takes over what it has set.
        :raises RequestTimedOut: the change takes too long; it may still be made.
        """
        with anyio.move_on_after(self._seconds):
            await self._turn.acquire()
            outcome: Pending[None] = Pending()
            self._spawn(self._alter(name, change, check_only, outcome))
            await outcome.wait()
            return
        raise RequestTimedOut(f"the state has not said within {self._seconds:g} s what came of the change")

    async def _alter(
        self,
        name: str,
        change: Callable[[Mapping[str, str]], dict[str, str]],
        check_only: bool,
        outcome: Pending[None],
    ) -> None:
        """Check, commit and apply a change, however long that takes, and release the semaphore."""
        try:
            await self._take_over()
            wanted = change(self._values[name])
            values = dynamic_configs.checked(wanted, self._levels(self._values | {name: wanted}))
            if not check_only and values != self._values[name]:
                await self._commit({PREFIX + name.encode(): msgspec.json.encode(values) if values else None})
                self._values[name] = values
                logger.info("configs of %s, set at run time: %s", _called(name), _shown(values))
                await self.apply()
        except Exception as error:
            outcome.fail(error)
        else:
            outcome.resolve(None)
        finally:
            self._turn.release()

    async def _take_over(self) -> None:
        if not self._taken:
            await self._writer.take_over()
            await self._read()
            self._taken = True
            await self.apply()

    async def _commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        done: Pending[Exception | None] = Pending()
        self._writer.submit(changes, done.resolve)
        error = await done.wait()
        if isinstance(error, NotCoordinator):
            self._taken = False  # the next change begins with what the other gateway has set
            raise NotController(str(error)) from error
        if isinstance(error, KafkaError):
            raise error
        if error is not None:
            raise KafkaStorageError(f"the state failed: {error!r}") from error

    async def stop(self) -> None:
        """Return when all changes are written."""
        await self._writer.drained()


async def _nothing() -> None:
    pass


def _called(name: str) -> str:
    return f"broker {name}" if name else "all brokers"


def _shown(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={text}" for key, text in values.items()) or "none"
