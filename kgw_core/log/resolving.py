"""What came of an append whose outcome is not known: the store is asked where the log ends and what is there.

A store that raises anything but a KafkaError may have written all the same. Nobody may be told that nothing
was written before that is certain: a client would send the records anew, under a new epoch of its producer,
and they would be there twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from kgw_core.background import Background, Tries
from kgw_core.errors import UnknownTopicOrPartition
from kgw_core.log.kind import LogKind
from kgw_core.log.queue import Flight
from kgw_core.records.batch import HEADER, iter_batches
from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.storage import SCAN_BYTES, Batch, Buffer, LogStore, OffsetConflict, TopicPartition

FIRST_DELAY, LONGEST_DELAY = 0.05, 2.0
"""Seconds between two questions to a store that cannot say; each delay is twice the one before."""


async def until_known(
    tp: TopicPartition,
    flight: Flight,
    high_watermark: int,
    store: LogStore,
    ledger: OffsetLedger,
    background: Background,
    kind: LogKind,
) -> Sequence[int] | None:
    """The base offsets at which the store has ``flight``, None if it has not; asks until store and ledger can
    say.

    :raises OffsetConflict: others have written where the append would have been.
    :raises UnknownTopicOrPartition: the log is gone.
    """
    tries = Tries(f"finding out what was stored of {tp}", background)
    delay = FIRST_DELAY
    while True:
        try:
            bases = await stored_at(tp, flight.batches, high_watermark, store, kind)
            if bases is not None:
                ledger.committed(tp, flight.end(bases))
        except (OffsetConflict, UnknownTopicOrPartition):
            tries.succeeded()
            raise
        except Exception as error:
            tries.failed(error)
            await background.pause(delay)
            delay = min(2 * delay, LONGEST_DELAY)
        else:
            tries.succeeded()
            return bases


async def stored_at(
    tp: TopicPartition, batches: Sequence[Batch], high_watermark: int, store: LogStore, kind: LogKind
) -> Sequence[int] | None:
    """The base offsets at which the store has ``batches``, None if it has not.

    An append is all or nothing, so the first batch tells for all. Where the store numbers records, others may
    have written before it and in between.

    :raises OffsetConflict: others have written where the append would have been.
    :raises Exception: what the store raises: it cannot say.
    """
    numbers, preserved = kind.numbers_records, kind.preserves_batches
    first = high_watermark if numbers else batches[0].base_offset
    start, end = (await store.bounds(tp))[:2]
    if start > first and not numbers:
        # stored, and deleted since, as by an engine that sees to retention itself
        return [each.base_offset for each in batches]
    offset = max(first, start)
    wanted = [_identity(batch.data, 0, preserved) for batch in batches[: None if numbers else 1]]
    bases: list[int] = []
    while offset < end:
        runs = await store.read(tp, offset, SCAN_BYTES if numbers else 1)
        if not runs:
            raise RuntimeError(f"{tp} ends at {end}, but there is nothing at offset {offset}")
        for run in runs:
            at = 0
            for batch in iter_batches(run.data):
                if _identity(run.data, at, preserved) == wanted[len(bases)]:
                    bases.append(batch.base_offset)
                    if len(bases) == len(wanted):
                        return bases if numbers else [each.base_offset for each in batches]
                elif not numbers:
                    raise OffsetConflict(first, end)
                at += batch.size
        offset = runs[-1].next_offset
    return None


def _identity(data: Buffer, at: int, preserved: bool) -> tuple[int, ...]:
    """What no store changes of the header at ``at``: all fields but base offset and leader epoch; where
    batches are not preserved, those from the last offset delta on."""
    header: tuple[int, ...] = HEADER.unpack_from(data, at)
    return (header[1], *header[3:]) if preserved else header[6:]
