"""Broker configs that are set at run time: kept in the state, told and applied (KIP-226).

Each of the two resources, this broker and all brokers (the name ""), is one key of the state, so a change is
there whole or not at all. Changes are made one at a time: checked, committed, then applied. What is told and
in force changes only when the commit has succeeded. One whose outcome is not known yet holds up those after
it; who asked for either is answered with REQUEST_TIMED_OUT when it takes too long.
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
"""The resource's name follows; the value is a JSON object of texts."""

ALL = ""
"""The name of the resource that stands for all brokers."""

_decode = msgspec.json.Decoder(dict[str, str]).decode


class DynamicConfigs:
    """The configs of this broker, whose own resource is ``name``.

    ``static`` is what the gateway's settings give. ``seconds`` is how long a change may take until whoever
    asked for it is answered. ``apply`` is called after each change and brings it about. With ``background``
    the health shows where the outcome of a change cannot be found out.
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
        self._turn = anyio.Semaphore(1)  # not a Lock: the task that ends a turn need not have begun it
        self._sources = {name: DYNAMIC_BROKER_CONFIG, ALL: DYNAMIC_DEFAULT_BROKER_CONFIG}  # strongest first
        self._taken = False  # whether nobody else changes what was read
        self._values: dict[str, Mapping[str, str]] = {each: {} for each in self._sources}

    @property
    def levels(self) -> list[Level]:
        """Where configs come from, the strongest first."""
        return self._levels(self._values)

    @property
    def typed(self) -> dict[str, Value]:
        """What is set at run time, the value that counts by its name."""
        return dynamic_configs.typed([self.level(name) for name in self._sources])

    def level(self, name: str) -> Level:
        """What is set on the resource ``name``."""
        return Level(self._sources[name], self._values[name])

    def _levels(self, values: Mapping[str, Mapping[str, str]]) -> list[Level]:
        return [*(Level(source, values[name]) for name, source in self._sources.items()), self.static]

    async def load(self) -> None:
        """Take over what was kept. What can no more be is logged, and left out.

        A state that can be read and not written, as on a full disk, keeps no gateway from starting: it is
        taken over, and read again, before the first change.

        :raises KafkaError: the state cannot say.
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
                continue
            try:
                kept, problems = dynamic_configs.usable(_decode(entry.value))
            except msgspec.DecodeError as error:
                kept, problems = {}, [str(error)]
            for problem in problems:
                logger.error("a config of %s is left out: %s", _called(name), problem)
            self._values[name] = kept
            if kept:
                logger.info("configs of %s, set at run time: %s", _called(name), _shown(kept))

    async def alter(
        self,
        name: str,
        change: Callable[[Mapping[str, str]], dict[str, str]],
        *,
        check_only: bool = False,
    ) -> None:
        """Set on the resource ``name`` what ``change`` makes of what is set, or only check that.

        :raises InvalidRequest: as :func:`kgw_core.topics.dynamic_configs.checked`, or what ``change`` raises.
        :raises KafkaStorageError: the state failed, and nothing has changed.
        :raises NotController: another gateway has taken over the state; nothing has changed.
        :raises RequestTimedOut: it takes too long; the change may still be done.
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
        """Check, commit and apply, however long that takes; ends the turn."""
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
            raise NotController(str(error)) from error
        if isinstance(error, KafkaError):
            raise error
        if error is not None:
            raise KafkaStorageError(f"the state failed: {error!r}") from error

    async def stop(self) -> None:
        """Return when what is under way is written."""
        await self._writer.drained()


async def _nothing() -> None:
    pass


def _called(name: str) -> str:
    return f"broker {name}" if name else "all brokers"


def _shown(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={text}" for key, text in values.items()) or "none"
