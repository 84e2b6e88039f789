"""What kind of store a log lies on, as its topic's capabilities say; all logs of one kind share one
object."""

from __future__ import annotations

from typing import NamedTuple

from kgw_core.log.tail import TailCache
from kgw_core.spi.storage import Capabilities


class LogKind(NamedTuple):
    """``immediate``: the store gets each batch at once, at the offsets that the ledger gives.
    ``numbers_records``: it chooses them itself. ``alone``: each log has a writer of its own.
    ``preserves_batches``: what is read is what was appended. ``tails``: where its newest batches are kept,
    None for nowhere."""

    immediate: bool
    numbers_records: bool
    alone: bool
    preserves_batches: bool
    tails: TailCache | None

    @classmethod
    def of(cls, capabilities: Capabilities, tails: TailCache | None) -> LogKind:
        """The kind of logs with these capabilities."""
        numbers = capabilities.numbers_records
        # append_now takes offsets from the core: a store that numbers records goes through the queue. One
        # that gets its batches at once has a queue only behind one whose outcome was not known.
        immediate = capabilities.immediate and not numbers
        alone = immediate or capabilities.commit_scope == "partition"
        caching = not immediate and not numbers
        return cls(immediate, numbers, alone, capabilities.preserves_batches, tails if caching else None)
