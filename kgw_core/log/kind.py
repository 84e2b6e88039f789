"""The kind of a log, from its topic's capabilities when it opens. All logs of one kind share one object."""

from __future__ import annotations

from typing import NamedTuple

from kgw_core.log.tail import TailCache
from kgw_core.spi.storage import Capabilities


class LogKind(NamedTuple):
    """``immediate``: the store gets each batch at once, at the ledger's offsets. ``numbers_records``: the
    store chooses the offsets. ``own_writer``: each log has a writer of its own. ``preserves_batches``: reads
    return the appended bytes. ``tails`` is the tail cache, or None."""

    immediate: bool
    numbers_records: bool
    own_writer: bool
    preserves_batches: bool
    tails: TailCache | None

    @classmethod
    def of(cls, capabilities: Capabilities, tails: TailCache | None) -> LogKind:
        """The kind of logs with these capabilities."""
        numbers = capabilities.numbers_records
        # append_now takes the core's offsets, so a store that numbers records goes through the queue. A store
        # that gets its batches at once has a queue only behind an append with an unknown outcome.
        immediate = capabilities.immediate and not numbers
        own_writer = immediate or capabilities.commit_scope == "partition"
        caching = not immediate and not numbers
        return cls(immediate, numbers, own_writer, capabilities.preserves_batches, tails if caching else None)
