"""Background work: work of the gateway that no request waits for. It follows one rule.

1. A failure ends neither the gateway nor other work. A failure that has to stop the gateway is no background
   work: the gateway's start awaits that work and raises a StartError.
2. A failure is logged once for each cause, not for each attempt, with its traceback if it is a fault of the
   gateway. The success after it is logged, too.
3. The work is retried after 1, 2, 4 … seconds of the :class:`~kgw_core.clock.Clock`.
4. While it fails, :class:`Health` shows it.

A coroutine that answers a request is started by :meth:`Background.spawn`. It gives its failures to the
request, so an exception that escapes is a fault, and nothing is retried.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import anyio

from kgw_core.clock import Clock, Timer, sleep
from kgw_core.errors import KafkaError

logger = logging.getLogger("kgw")

FIRST_SECONDS: Final = 1.0
"""The pause before the first retry. Each later pause is twice as long,"""
MOST_SECONDS: Final = 30.0
"""up to this."""
CAUSES: Final = 50
"""The most causes that are logged for one work before it succeeds."""
_CAUSE_DEPTH: Final = 5

Work: TypeAlias = Callable[[], Awaitable[object]]


class Failing(NamedTuple):
    """Background work that fails now. ``since_ms`` is its first failure, in ms since the epoch."""

    work: str
    since_ms: int
    tries: int
    cause: str


class Health:
    """The work that fails now. Each of ``changed`` is called after a change."""

    def __init__(self) -> None:
        self._failing: dict[str, Failing] = {}
        self.changed: list[Callable[[], object]] = []

    @property
    def failing(self) -> Mapping[str, Failing]:
        """The failing work by its name."""
        return self._failing

    def fails(self, failing: Failing) -> None:
        """This work fails."""
        self._failing[failing.work] = failing
        self._notify()

    def works(self, work: str) -> None:
        """This work no longer fails."""
        if self._failing.pop(work, None) is not None:
            self._notify()

    def _notify(self) -> None:
        for call in self.changed:
            try:
                call()
            except Exception:
                logger.exception("a listener of the health failed")


class PartlyFailed(Exception):
    """Work on many things failed on some of them, and went on with the others."""


class Faults:
    """Collects the failures of work on many things, and reports the first. ``things`` names the things."""

    def __init__(self, things: str) -> None:
        self._things = things
        self._count = 0
        self._first: tuple[object, Exception] | None = None

    def add(self, thing: object, error: Exception) -> None:
        """The work failed on ``thing``."""
        self._count += 1
        if self._first is None:
            self._first = thing, error

    def tell(self) -> None:
        """Return if nothing failed. :raises PartlyFailed: something failed; the cause is the first
        failure."""
        if self._first is not None:
            thing, error = self._first
            raise PartlyFailed(f"{self._count} {self._things}, as {thing}: {brief(error)}") from error


class Background:
    """Runs background work by the rule in the module's docstring, on the event loop.

    ``start`` starts a coroutine as a task; by default as a task of asyncio.
    """

    def __init__(
        self,
        clock: Clock,
        start: Callable[[Coroutine[Any, Any, None]], object] | None = None,
        health: Health | None = None,
    ) -> None:
        self.clock = clock
        self.health = health or Health()
        self.hurried = False
        self.start = start or _Tasks()
        self._pausing: set[anyio.Event] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that handles its own failures. An exception that escapes is logged, not retried."""
        self.start(_guarded(work))

    async def every(self, name: str, seconds: float | Callable[[], float], work: Work) -> None:
        """Do ``work()`` every ``seconds``, sooner after a failure, until cancelled.

        ``seconds`` may be a function, which is called before each pause.
        """
        now = seconds if callable(seconds) else lambda: seconds
        tries = Tries(name, self, most=now())
        pause = now()
        while True:
            await sleep(self.clock, pause)
            sooner = await tries.attempt(work)
            pause = now() if sooner is None else min(sooner, now())

    async def until_done(self, name: str, work: Work, most: float = MOST_SECONDS) -> None:
        """Do ``work()`` until it succeeds once. ``most`` is the longest pause between two attempts."""
        tries = Tries(name, self, most)
        while (pause := await tries.attempt(work)) is not None:
            await self.pause(pause)

    async def keep(self, name: str, work: Work) -> None:
        """Keep ``work()`` running as long as the gateway runs. After a failure it is started again, and
        counts as working when it has run for twice the last pause."""
        tries = Tries(name, self)
        while (pause := await tries.attempt(work)) is not None:
            await self.pause(pause)
            tries.succeed_after(2 * pause)

    def chore(self, name: str, work: Work) -> Chore:
        """Work that is due from time to time."""
        return Chore(Tries(name, self), self, work)

    async def pause(self, seconds: float, woken: anyio.Event | None = None) -> None:
        """Wait for the next attempt, or until ``woken``."""
        woken = woken or anyio.Event()
        self._pausing.add(woken)
        timer = self.clock.call_later(min(seconds, FIRST_SECONDS) if self.hurried else seconds, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()
            self._pausing.discard(woken)

    def hurry(self) -> None:
        """The gateway stops: retry failing work now, and then at short intervals."""
        self.hurried = True
        for woken in self._pausing:
            woken.set()


class Tries:
    """The attempts of one work, and their log lines. ``most`` is the longest pause between two."""

    def __init__(self, name: str, background: Background, most: float = MOST_SECONDS) -> None:
        self.name = name
        self._clock = background.clock
        self._health = background.health
        self._most = most
        self._failing: Failing | None = None
        self._causes: set[object] = set()
        self._timer: Timer | None = None

    async def attempt(self, work: Work) -> float | None:
        """Do ``work()``. Return None if it succeeded, else the seconds until the next attempt."""
        try:
            await work()
        except Exception as error:
            return self.failed(error)
        finally:
            self._forget_timer()
        self.succeeded()
        return None

    def failed(self, error: Exception) -> float:
        """The work failed. Return the seconds until the next attempt."""
        cause = brief(error)
        before = self._failing
        tries = before.tries + 1 if before else 1
        since = before.since_ms if before else self._clock.time_ms()
        self._failing = Failing(self.name, since, tries, cause)
        kind = _kind(error)
        if kind not in self._causes and len(self._causes) < CAUSES:
            self._causes.add(kind)
            fault = None if _is_expected(error) else error
            logger.error("%s failed, and is tried again: %s", self.name, cause, exc_info=fault)
        else:
            logger.debug("%s failed again: %s", self.name, cause)
        self._health.fails(self._failing)
        return min(FIRST_SECONDS * 2.0 ** min(tries - 1, 30), self._most)

    def succeeded(self) -> None:
        """The work succeeded."""
        failing, self._failing = self._failing, None
        if failing is not None:
            self._causes.clear()
            seconds = (self._clock.time_ms() - failing.since_ms) / 1000
            logger.info("%s works again, %.0f s after it began to fail", self.name, seconds)
            self._health.works(self.name)

    def succeed_after(self, seconds: float) -> None:
        """The work counts as working if it does not fail in the next ``seconds``."""
        self._timer = self._clock.call_later(seconds, self.succeeded)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Chore:
    """Work that is due from time to time. ``work()`` does everything that is due."""

    def __init__(self, tries: Tries, background: Background, work: Work) -> None:
        self._tries = tries
        self._background = background
        self._work = work
        self._due = False
        self._last = False  # no more attempts
        self._scope: anyio.CancelScope | None = None
        self._woken = anyio.Event()
        self._ended: anyio.Event | None = None  # set at the end of the run; None if it does not run

    def due(self) -> None:
        """The work is due: begin it, or repeat it after the current run."""
        self._due = True
        if self._ended is None and not self._last:
            self._ended, self._scope = anyio.Event(), anyio.CancelScope()
            self._background.start(self._run(self._ended, self._scope))

    async def _run(self, ended: anyio.Event, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                while self._due:
                    self._due = False
                    pause = await self._tries.attempt(self._work)
                    if pause is not None:
                        self._due = True
                        if self._last:
                            return
                        self._woken = anyio.Event()
                        await self._background.pause(pause, self._woken)
        finally:
            self._ended = None
            ended.set()

    async def finish(self) -> None:
        """Make one more attempt at once if the work is due, and none after that."""
        self._last = True
        self._woken.set()
        if self._ended is not None:
            await self._ended.wait()

    async def stop(self) -> None:
        """Cancel the work; return when it has ended."""
        self._last = True
        if self._scope is not None:
            self._scope.cancel()
        if self._ended is not None:
            await self._ended.wait()


class _Tasks:
    """Starts tasks, and keeps references to them until they have ended."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        logger.exception("a background task failed")


def brief(error: BaseException) -> str:
    """An error in one line, for operators."""
    if isinstance(error, KafkaError | PartlyFailed):
        return str(error)
    return repr(error)


def _is_expected(error: BaseException) -> bool:
    """Whether the error comes from a store that cannot work now, and is no fault of the gateway."""
    if isinstance(error, PartlyFailed) and error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, KafkaError)


def _kind(error: BaseException) -> object:
    """A key that is equal for failures of one cause: type, place and text, without numbers in the text."""
    kind: list[object] = []
    link: BaseException | None = error
    while link is not None and len(kind) < _CAUSE_DEPTH:
        place = link.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        at = (place.tb_frame.f_code, place.tb_lineno) if place is not None else None
        kind.append((type(link), at, re.sub(r"\d+", "#", str(link)[:200])))
        link = link.__cause__
    return tuple(kind)
