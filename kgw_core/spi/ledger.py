"""What a plugin implements to say who leads a partition, how far it is committed, and which offset is next.

An :class:`OffsetLedger` is asked before a gateway appends to a log: :meth:`OffsetLedger.lead` makes it the
leader and fences the previous leader. The core's default (:mod:`kgw_core.log.ledger`) leads every log and
counts from the log's end in memory, which is right for a store that one gateway alone can open. A plugin puts
leadership into the store's own engine, or into another (a file, a database) beside a store that only keeps
bytes; then several gateways can share the store.

The contract. *The core promises:*

1. ``open`` is called once, when store and state are open; ``close`` once, before they are closed.
2. ``lead`` is called before a log is used, one call at a time for a log, and again after the leadership was
   lost. ``resign`` is called only for a leadership that was given, when nothing is in flight under it.
3. ``reserve`` is called only between ``lead`` and ``lost`` or ``resign``, and never if the store numbers
   records; ``committed`` is called for every append that the store has stored, in order.

*The ledger promises:*

4. When ``lead`` has returned, the store no longer takes anything under an earlier epoch
   (:meth:`~kgw_core.spi.storage.LogStore.fence`), and everything acknowledged before lies below ``end``.
   Epochs of one log rise from leader to leader; the default's stay as the store gives them.
5. If another gateway leads and may go on, ``lead`` raises :class:`NotLeader` and changes nothing.
6. Offsets are given out once: ``reserve`` begins at ``end`` and goes on without gaps.
7. A ledger that can no longer be sure to lead (a lease that was not renewed) calls ``events.lost`` before
   another gateway can lead, as far as it can tell, and ``reserve`` raises :class:`NotLeader` from then on. A
   gateway that is paused meanwhile is stopped by the fence.
8. ``leader``, ``reserve``, ``committed``, ``released``, ``trimmed`` and ``fenced`` never wait: every
   request calls some of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from kgw_core.spi.context import PluginContext
from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import API_VERSION, LogStore, TopicPartition


class LedgerEvents:
    """What a ledger tells the core by itself. Every call returns at once; all run on the event loop."""

    def committed(self, tp: TopicPartition, high_watermark: int) -> None:
        """More of the log is committed than the ledger said when it was asked."""

    def lost(self, tp: TopicPartition, epoch: int) -> None:
        """This gateway no longer leads the log; the new leader's epoch is ``epoch`` (-1: not known)."""


@dataclass(frozen=True, slots=True)
class LedgerContext(PluginContext):
    """What an :class:`OffsetLedger` gets: also the ``store`` whose logs it is for, and
    the gateway's ``state``, both open."""

    store: LogStore = field(kw_only=True)
    state: StateStore = field(kw_only=True)
    events: LedgerEvents = field(default_factory=LedgerEvents)


class Leader(NamedTuple):
    """Who leads a log: a gateway's node id, and the epoch of its leadership (-1: not known)."""

    node_id: int
    epoch: int = -1


class Leadership(NamedTuple):
    """What a new leader begins with: the log start offset, the ``end`` up to which the log is committed and
    from which offsets are given out, the ``epoch`` under which it writes, and the ``size`` in bytes."""

    start: int
    end: int
    epoch: int
    size: int = 0


class NotLeader(Exception):
    """This gateway cannot lead the log now. ``leader``: who does (None: not known)."""

    def __init__(self, tp: TopicPartition, leader: Leader | None = None) -> None:
        super().__init__(f"{tp} is led by {f'node {leader.node_id}' if leader else 'another gateway'}")
        self.leader = leader


class OffsetLedger(ABC):
    """Base class of ledger plugins; the module's docstring is its contract.

    ``Config`` is a msgspec Struct that the ``[ledger]`` table is checked against before the ledger is made;
    None takes no settings. ``name`` is what a config file selects by. ``shared``: several gateways may use
    the same logs, so that each tells the others its addresses.
    """

    name: ClassVar[str]
    api_version: ClassVar[int] = API_VERSION
    Config: ClassVar[type[Any] | None] = None
    shared: ClassVar[bool] = False

    def __init__(self, config: Any = None) -> None:
        self.config = config

    async def open(self, context: LedgerContext) -> None:
        """Called once before anything else. :raises Exception: whatever keeps the gateway from starting."""

    async def close(self) -> None:
        """Called once, after every leadership that could be resigned was."""

    @abstractmethod
    async def lead(self, tp: TopicPartition) -> Leadership:
        """Become the log's leader (rules 4 and 5).

        :raises NotLeader: another gateway leads.
        :raises UnknownTopicOrPartition: there is no such log.
        :raises Exception: the ledger cannot tell now; the core asks again later.
        """

    async def resign(self, tp: TopicPartition, epoch: int) -> None:
        """Give up the leadership of ``epoch``, so that another gateway can take over at once."""

    @abstractmethod
    def leader(self, tp: TopicPartition) -> Leader | None:
        """Who leads, as far as is known without asking; None: nobody does, and this gateway may try."""

    @abstractmethod
    def reserve(self, tp: TopicPartition, span: int) -> int:
        """Take the next ``span`` offsets, tentatively; return the first. :raises NotLeader: see rule 7."""

    @abstractmethod
    def committed(self, tp: TopicPartition, end: int) -> int:
        """The store holds everything below ``end``: the high watermark now. It may rise later by itself
        (``events.committed``)."""

    @abstractmethod
    def released(self, tp: TopicPartition, base: int) -> None:
        """The append at ``base`` failed: void it and everything reserved after it."""

    def trimmed(self, tp: TopicPartition, start: int) -> None:
        """The log now starts at ``start``."""

    def fenced(self, tp: TopicPartition, epoch: int) -> None:
        """The store has refused an append, because another gateway leads in ``epoch`` (-1: not known)."""

    def closed(self, tp: TopicPartition) -> None:
        """The log is gone; the ledger may drop what it keeps of it."""
