"""A ledger that keeps leases in a file beside a store that only keeps bytes."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec

from kgw_core.spi.ledger import Leader, Leadership, LedgerContext, NotLeader, OffsetLedger
from kgw_core.spi.storage import Fenced, TopicPartition

T = TypeVar("T")
RENEWALS = 4
"""Renewals in the time that a lease lasts."""


class Lease(msgspec.Struct):
    """Of one log: node ``node`` leads it in ``epoch`` until ``until`` (ms since the epoch)."""

    node: int
    epoch: int
    until: int


class LeaseLedger(OffsetLedger):
    """A lease belongs to whoever has written it, until its time is over by the clock of whoever looks."""

    name = "lease"
    shared = True

    class Config(msgspec.Struct, forbid_unknown_fields=True):
        path: Path
        seconds: float = 10.0
        look: float | None = None
        """Seconds between two looks into the file; not set: a quarter of a lease."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._path = config.path
        self._ms = round(config.seconds * 1000)
        self._seen: dict[str, Lease] = {}  # as the file had it when it was read last
        self._led: dict[str, tuple[TopicPartition, Lease]] = {}
        self._next: dict[str, int] = {}

    async def open(self, context: LedgerContext) -> None:
        self._context = context
        self._scope = anyio.CancelScope()
        await self._look()
        context.background.start(self._run())

    async def close(self) -> None:
        self._scope.cancel()

    async def _run(self) -> None:
        with self._scope:
            seconds = self.config.look or self._ms / 1000 / RENEWALS
            await self._context.background.every("renewing leases", seconds, self._look)

    # -- leadership

    async def lead(self, tp: TopicPartition) -> Leadership:
        context, key = self._context, _key(tp)
        await context.store.bounds(tp)  # raises where there is no such log
        lease = await self._in_file(lambda leases: self._claim(tp, leases))
        try:
            start, end, epoch, size, *_ = await context.store.fence(tp, lease.epoch)
        except Fenced as error:
            raise NotLeader(tp) from error
        self._led[key] = tp, lease
        self._next[key] = end
        return Leadership(start, end, epoch, size)

    def _claim(self, tp: TopicPartition, leases: dict[str, Lease]) -> Lease:
        key, context = _key(tp), self._context
        known = leases.get(key)
        if known is not None and known.node != context.node_id and known.until > self._now:
            raise NotLeader(tp, Leader(known.node, known.epoch))
        epoch = max(known.epoch if known is not None else 0, context.store.leader_epoch(tp)) + 1
        leases[key] = Lease(context.node_id, epoch, self._now + self._ms)
        return leases[key]

    async def resign(self, tp: TopicPartition, epoch: int) -> None:
        key = _key(tp)

        def resign(leases: dict[str, Lease]) -> None:
            known = leases.get(key)
            if known is not None and (known.node, known.epoch) == (self._context.node_id, epoch):
                known.until = 0

        self._forget(key)
        await self._in_file(resign)

    async def _look(self) -> None:
        """Renew what is led, and see what others lead."""
        now = self._now

        def renew(leases: dict[str, Lease]) -> None:
            for key, (_, lease) in list(self._led.items()):
                known = leases.get(key)
                if (
                    known is not None
                    and (known.node, known.epoch) == (lease.node, lease.epoch)
                    and lease.until > now
                ):
                    known.until = lease.until = now + self._ms

        await self._in_file(renew)
        for key, (tp, lease) in list(self._led.items()):
            known = self._seen.get(key)
            if known is None or (known.node, known.epoch) != (lease.node, lease.epoch) or lease.until <= now:
                self._forget(key)
                self._context.events.lost(tp, known.epoch if known is not None else -1)

    # -- without waiting

    def leader(self, tp: TopicPartition) -> Leader | None:
        key = _key(tp)
        lease = self._led[key][1] if key in self._led else self._seen.get(key)
        if lease is None or lease.until <= self._now:
            return None
        if lease.node == self._context.node_id and key not in self._led:
            return None  # it was lost, or given up
        return Leader(lease.node, lease.epoch)

    def reserve(self, tp: TopicPartition, span: int) -> int:
        key = _key(tp)
        if key not in self._led or self._led[key][1].until <= self._now:
            raise NotLeader(tp, self.leader(tp))
        base = self._next[key]
        self._next[key] = base + span
        return base

    def committed(self, tp: TopicPartition, end: int) -> int:
        return end

    def released(self, tp: TopicPartition, base: int) -> None:
        key = _key(tp)
        if self._next.get(key, base) > base:
            self._next[key] = base

    def fenced(self, tp: TopicPartition, epoch: int) -> None:
        self._forget(_key(tp))
        self._context.background.spawn(self._look())

    def closed(self, tp: TopicPartition) -> None:
        self._forget(_key(tp))

    def _forget(self, key: str) -> None:
        self._led.pop(key, None)
        self._next.pop(key, None)

    @property
    def _now(self) -> int:
        return self._context.clock.time_ms()

    # -- the file

    async def _in_file(self, change: Callable[[dict[str, Lease]], T]) -> T:
        def work() -> T:
            with self._locked():
                self._seen = leases = msgspec.convert(self._read(), dict[str, Lease])
                result = change(leases)
                self._path.write_text(json.dumps(msgspec.to_builtins(leases)), encoding="utf-8")
                return result

        return await anyio.to_thread.run_sync(work)

    def _read(self) -> Any:
        try:
            return json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _key(tp: TopicPartition) -> str:
    return f"{tp.topic_id}-{tp.partition}"
