"""Broker registrations: each gateway's node id and addresses, in the shared state, under a lease.

They exist only if several gateways share their logs (:attr:`kgw_core.spi.ledger.OffsetLedger.shared`). As in
Kafka a broker registers and sends heartbeats, and counts as gone after a session timeout without one.

1. A heartbeat is a commit of the gateway's own key. It expects the version of the last heartbeat, so two
   gateways with one node id cannot both be registered.
2. Clocks of gateways are never compared. For a reader a gateway is gone when its key has not changed for its
   session timeout, which stands there, by the reader's clock. A gateway counts itself as gone when it has not
   written for that time by its own clock, which is never later.
3. The live broker that registered first is the controller, and coordinates the groups. A broker that was gone
   and comes back registers again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final
from uuid import uuid4

import anyio
import msgspec

from kgw_core.background import Background
from kgw_core.clock import Timer, sleep
from kgw_core.errors import DuplicateBrokerRegistration
from kgw_core.spi.state import ABSENT, Entry, StateStore, VersionConflict

logger = logging.getLogger("kgw")

PREFIX: Final = b"brokers/"

SIGNS: Final = 4
"""The heartbeats of a gateway in one session timeout."""


class Registration(msgspec.Struct, frozen=True):
    """One gateway. ``listeners`` are host and port for clients by the listener's name. ``incarnation`` is
    unique for the process. ``since`` is the version of the commit that registered it; 0 stands for the
    entry's own version. ``session_timeout`` in seconds."""

    node_id: int
    listeners: Mapping[str, tuple[str, int]]
    rack: str | None
    incarnation: str
    since: int = 0
    session_timeout: float = 0.0


class Registrations:
    """The registration of this gateway, and those of the live ``others`` by node id.

    ``session_timeout`` is in seconds. Each of ``looked`` is called after the others were read.
    """

    def __init__(
        self,
        state: StateStore,
        background: Background,
        node_id: int,
        rack: str | None,
        session_timeout: float,
    ) -> None:
        self.others: dict[int, Registration] = {}
        self.looked: list[Callable[[], object]] = []
        self._state = state
        self._background = background
        self._clock = background.clock
        self._timeout = session_timeout
        self._own = Registration(node_id, {}, rack, uuid4().hex, session_timeout=session_timeout)
        self._version = ABSENT
        self._renewed = 0.0
        self._seen: dict[bytes, tuple[int, float]] = {}  # version, and when it was first seen
        self._turn = anyio.Lock()  # for heartbeats and the end
        self._left = False
        self._lapse: Timer | None = None  # at the end of the session

    # -- the current view

    @property
    def lapsed(self) -> bool:
        """Whether this gateway may be gone for the others."""
        return self._clock.monotonic() - self._renewed >= self._timeout

    @property
    def controller(self) -> int | None:
        """The node id of the gateway that registered first; None if that is this one and it has lapsed."""
        first = min((self._own, *self.others.values()), key=lambda each: (each.since, each.node_id))
        return None if first is self._own and self.lapsed else first.node_id

    # -- this gateway

    async def register(self, listeners: Mapping[str, tuple[str, int]]) -> None:
        """Become a broker of the cluster. This waits if a gateway with this node id was killed a moment ago.

        :raises DuplicateBrokerRegistration: another live gateway has this node id.
        :raises Exception: from the state.
        """
        self._own = msgspec.structs.replace(self._own, listeners=dict(listeners))
        first: int | None = None
        while True:
            entry = await self._state.get(self._key)
            version = entry.version if entry is not None else ABSENT
            if entry is None or self._is_over(entry, _decoded(entry)) or self._is_own(entry):
                try:
                    await self._renew(version, anew=True)
                except VersionConflict:
                    continue
                break
            if first is None:
                first = version
                logger.info(
                    "node %d is registered already; waiting up to %g s for the end of its session",
                    self._own.node_id,
                    self._timeout,
                )
            elif version != first:
                raise DuplicateBrokerRegistration(
                    f"another gateway has node id {self._own.node_id}; give each its own (node_id)"
                )
            await sleep(self._clock, self._timeout / SIGNS)
        await self._look()

    async def run(self) -> None:
        """Send heartbeats and read the others, until cancelled."""
        await self._background.every("registering as a broker", self._timeout / SIGNS, self.keep)

    async def keep(self) -> None:
        """Do both once.

        :raises DuplicateBrokerRegistration: another gateway has taken the node id.
        :raises Exception: from the state.
        """
        async with self._turn:
            if self._left:
                return
            try:
                await self._look()
            finally:
                self._tell()
            try:
                await self._renew(self._version, anew=self.lapsed)
            except VersionConflict:
                entry = await self._state.get(self._key)
                if entry is not None and not self._is_own(entry):
                    raise DuplicateBrokerRegistration(
                        f"another gateway has taken node id {self._own.node_id}"
                    ) from None
                self._version = entry.version if entry is not None else ABSENT
                await self._renew(self._version, anew=True)

    async def leave(self) -> None:
        """Remove the registration, so that this gateway is gone for the others. No heartbeat follows.

        :raises Exception: from the state.
        """
        async with self._turn:
            self._left = True
            if self._lapse is not None:
                self._lapse.cancel()
            await self._state.commit({self._key: None}, {self._key: self._version})

    async def _renew(self, version: int, anew: bool) -> None:
        first = self._own.since == 0
        began = self._clock.monotonic()
        own = msgspec.structs.replace(self._own, since=0) if anew else self._own
        self._version = await self._state.commit({self._key: msgspec.json.encode(own)}, {self._key: version})
        self._own = own if own.since else msgspec.structs.replace(own, since=self._version)
        late = self.lapsed and not anew
        self._renewed = began
        if self._lapse is not None:
            self._lapse.cancel()
        left = self._timeout - (self._clock.monotonic() - began)
        self._lapse = self._clock.call_later(max(left, 0.0), self._tell)
        if late:  # the session expired before this commit: others may have taken over meanwhile
            await self._renew(self._version, anew=True)
        elif anew and not first:
            self._tell()

    def _tell(self) -> None:
        for call in self.looked:
            call()

    @property
    def _key(self) -> bytes:
        return PREFIX + b"%d" % self._own.node_id

    def _is_own(self, entry: Entry) -> bool:
        found = _decoded(entry)
        return found is not None and found.incarnation == self._own.incarnation

    # -- the others

    async def _look(self) -> None:
        others: dict[int, Registration] = {}
        keys = set()
        async for entry in self._state.scan(PREFIX):
            keys.add(entry.key)
            if entry.key == self._key:
                continue
            found = _decoded(entry)
            if found is not None and not self._is_over(entry, found):
                others[found.node_id] = found
        self._seen = {key: seen for key, seen in self._seen.items() if key in keys}
        for node_id in sorted(others.keys() - self.others.keys()):
            logger.info("broker %d is there", node_id)
        for node_id in sorted(self.others.keys() - others.keys()):
            logger.info("broker %d is gone", node_id)
        self.others = others

    def _is_over(self, entry: Entry, found: Registration | None) -> bool:
        """Whether there was no heartbeat for the session timeout of the gateway that registered."""
        now = self._clock.monotonic()
        version, since = self._seen.get(entry.key, (None, now))
        if version != entry.version:
            self._seen[entry.key] = entry.version, now
            return False
        return now - since > (found.session_timeout if found is not None else self._timeout)


def _decoded(entry: Entry) -> Registration | None:
    try:
        found = msgspec.json.decode(entry.value, type=Registration)
    except msgspec.DecodeError as error:
        logger.error("the registration under %r cannot be read and is left alone: %s", entry.key, error)
        return None
    return found if found.since else msgspec.structs.replace(found, since=entry.version)
