"""The parts of the gateway that every log uses."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from kgw_core.background import Background
from kgw_core.budget import Budget
from kgw_core.clock import Clock
from kgw_core.log.kind import LogKind
from kgw_core.log.opening import Openers
from kgw_core.log.refused import RefusedSequences
from kgw_core.log.snapshots import Snapshots
from kgw_core.log.validator import CheckRecords
from kgw_core.log.writer import Writers
from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.storage import LogStore, Topic
from kgw_core.topics.keyed_locks import KeyedLocks


@dataclass(frozen=True, slots=True, kw_only=True)
class LogContext:
    """The parts of the gateway that every log uses. All logs share one object.

    ``spawn`` starts a coroutine that nobody waits for. ``budget`` counts the bytes of appends that wait.
    ``snapshots`` is None if the state or the store is not durable. ``changing`` are the locks of trims and
    replacements, by partition. ``kind`` gives the kind of a topic's logs. ``check_records`` is how closely
    produced records are checked, and ``max_inflated`` is the most bytes to which one batch may inflate.
    """

    store: LogStore
    ledger: OffsetLedger
    clock: Clock
    background: Background
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    budget: Budget
    refused: RefusedSequences
    snapshots: Snapshots | None
    writers: Writers
    openers: Openers
    changing: KeyedLocks
    kind: Callable[[Topic], LogKind]
    check_records: CheckRecords
    max_inflated: int
