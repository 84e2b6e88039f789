"""Broker registrations: each gateway's node id and its addresses, in the shared state, under a lease.

Only where several gateways share their logs (:attr:`kgw_core.spi.ledger.OffsetLedger.shared`). As in Kafka a
broker registers, and gives signs of life; it counts as gone when there was none for the session timeout.

1. A sign of life is a commit of the gateway's own key. It expects the version of the one before, so that two
   gateways with one node id do not live side by side.
2. No two clocks are compared. A reader takes a gateway for gone when its key has kept its version for the
   session timeout by the reader's own clock; a gateway takes itself for gone when it has not written for as
   long by its own, which is never later than that.
3. The broker that registered first of all that live is the controller, and coordinates the groups. Who comes
   back after it was taken for gone has registered anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final
from uuid import uuid4

import msgspec

from kgw_core.background import Background
from kgw_core.clock import sleep
from kgw_core.errors import DuplicateBrokerRegistration
from kgw_core.spi.state import ABSENT, Entry, StateStore, VersionConflict

logger = logging.getLogger("kgw")

PREFIX: Final = b"brokers/"

SIGNS: Final = 4
"""Signs of life that a gateway gives in one session timeout."""


class Registration(msgspec.Struct, frozen=True):
    """One gateway. ``listeners``: host and port that clients dial, by the listener's name. ``incarnation``:
    of this process. ``since``: the version of the commit that registered it; 0: it is the entry's own."""

    node_id: int
    listeners: Mapping[str, tuple[str, int]]
    rack: str | None
    incarnation: str
    since: int = 0


class Registrations:
    """This gateway's, and those of the ``others`` that live, by node id.

    ``session_timeout`` in seconds. ``looked`` are called after each look at the others.
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
        self._own = Registration(node_id, {}, rack, uuid4().hex)
        self._version = ABSENT
        self._renewed = 0.0
        self._seen: dict[bytes, tuple[int, float]] = {}  # version of each key, and since when it is that

    # -- what is known

    @property
    def lapsed(self) -> bool:
        """Whether others may have taken this gateway for gone."""
        return self._clock.monotonic() - self._renewed > self._timeout

    @property
    def controller(self) -> int | None:
        """Node id of the gateway that registered first; None: this one would be it, and has lapsed."""
        first = min((self._own, *self.others.values()), key=lambda each: (each.since, each.node_id))
        return None if first is self._own and self.lapsed else first.node_id

    # -- this gateway

    async def register(self, listeners: Mapping[str, tuple[str, int]]) -> None:
        """Become a broker of the cluster. Waits where one with this node id was killed a moment ago.

        :raises DuplicateBrokerRegistration: another gateway that lives has this node id.
        :raises Exception: as the state's.
        """
        self._own = msgspec.structs.replace(self._own, listeners=dict(listeners))
        first: int | None = None
        while True:
            entry = await self._state.get(self._key)
            version = entry.version if entry is not None else ABSENT
            if entry is None or self._is_over(entry) or self._is_own(entry):
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
        """Give signs of life, and look at the others; runs until cancelled."""
        await self._background.every("registering as a broker", self._timeout / SIGNS, self.keep)

    async def keep(self) -> None:
        """Do both once. :raises Exception: as the state's; another gateway has taken the node id."""
        try:
            await self._look()
        finally:
            for call in self.looked:
                call()
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
        """Be gone at once, for all others that look. :raises Exception: as the state's."""
        await self._state.commit({self._key: None}, {self._key: self._version})

    async def _renew(self, version: int, anew: bool) -> None:
        began = self._clock.monotonic()
        own = msgspec.structs.replace(self._own, since=0) if anew else self._own
        self._version = await self._state.commit({self._key: msgspec.json.encode(own)}, {self._key: version})
        self._own = own if own.since else msgspec.structs.replace(own, since=self._version)
        self._renewed = began

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
            if entry.key == self._key or self._is_over(entry):
                continue
            found = _decoded(entry)
            if found is not None:
                others[found.node_id] = found
        self._seen = {key: seen for key, seen in self._seen.items() if key in keys}
        for node_id in sorted(others.keys() - self.others.keys()):
            logger.info("broker %d is there", node_id)
        for node_id in sorted(self.others.keys() - others.keys()):
            logger.info("broker %d is gone", node_id)
        self.others = others

    def _is_over(self, entry: Entry) -> bool:
        """Whether there was no sign of life for the session timeout."""
        now = self._clock.monotonic()
        version, since = self._seen.get(entry.key, (None, now))
        if version != entry.version:
            self._seen[entry.key] = entry.version, now
            return False
        return now - since > self._timeout


def _decoded(entry: Entry) -> Registration | None:
    try:
        found = msgspec.json.decode(entry.value, type=Registration)
    except msgspec.DecodeError as error:
        logger.error("what is kept under %r is left alone: %s", entry.key, error)
        return None
    return found if found.since else msgspec.structs.replace(found, since=entry.version)
