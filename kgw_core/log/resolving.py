"""What came of an append whose outcome is not known: the store is asked where the log ends and what is there.

A store that raises anything but a KafkaError may have written all the same. Nobody may be told that nothing
was written before that is certain: a client would send the records anew, under a new epoch of its producer,
and they would be there twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kgw_core.background import Background, Tries
from kgw_core.errors import UnknownTopicOrPartition
from kgw_core.log.kind import LogKind
from kgw_core.log.queue import Flight
from kgw_core.records.batch import HEADER, LOG_APPEND_TIME, iter_batches
from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.storage import SCAN_BYTES, Buffer, LogStore, OffsetConflict, Run, TopicPartition

FIRST_DELAY, LONGEST_DELAY = 0.05, 2.0
"""Seconds between two questions to a store that cannot say; each delay is twice the one before."""


async def until_known(
    tp: TopicPartition,
    flight: Flight,
    epoch: int,
    store: LogStore,
    ledger: OffsetLedger,
    background: Background,
    kind: LogKind,
) -> Sequence[int] | None:
    """The base offsets at which the store has ``flight``, which was made in ``epoch``; None if it has not.
    Asks until store and ledger can say.

    :raises OffsetConflict: others have written where the append would have been.
    :raises UnknownTopicOrPartition: the log is gone.
    """
    tries = Tries(f"finding out what was stored of {tp}", background)
    delay = FIRST_DELAY
    while True:
        try:
            bases = await stored_at(tp, flight, epoch, store, kind)
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
    tp: TopicPartition, flight: Flight, epoch: int, store: LogStore, kind: LogKind
) -> Sequence[int] | None:
    """The base offsets at which the store has ``flight``, None if it has not.

    An append is all or nothing, but another leader may have been sent its first batch again. So each batch is
    looked for. Where the store numbers records, others may have written before it and in between.

    :raises OffsetConflict: others have written where the append would have been.
    :raises Exception: what the store raises: it cannot say.
    """
    numbers, batches = kind.numbers_records, flight.batches
    start, end, led = (await store.bounds(tp))[:3]
    if numbers:
        first, left = flight.lowest, batches
    else:
        first = batches[0].base_offset
        # What is not left was stored, and deleted since, as by an engine that sees to retention itself.
        left = [batch for batch in batches if batch.base_offset + batch.span > start]
        if start > first and led > epoch:  # or another leader wrote there, and has deleted that
            raise OffsetConflict(first, end)
    wanted = [_identity(batch.data, 0, kind.preserves_batches) for batch in left]
    offset = max(first, start)
    bases: list[int] = []
    while offset < end and len(bases) < len(wanted):
        runs = await store.read(tp, offset, SCAN_BYTES)
        if not runs:
            raise RuntimeError(f"{tp} ends at {end}, but there is nothing at offset {offset}")
        for base, identity in _identities(runs, kind.preserves_batches):
            if len(bases) == len(wanted):
                break
            if identity == wanted[len(bases)]:
                bases.append(base)
            elif not numbers:
                raise OffsetConflict(first, end)
        offset = runs[-1].next_offset
    if numbers:
        return bases if len(bases) == len(wanted) else None
    if len(bases) == len(wanted):
        return [batch.base_offset for batch in batches]
    if bases:
        raise OffsetConflict(first, end)
    return None


def _identities(runs: Sequence[Run], preserved: bool) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Base offset and identity of each batch."""
    for run in runs:
        at = 0
        for batch in iter_batches(run.data):
            yield batch.base_offset, _identity(run.data, at, preserved)
            at += batch.size


def _identity(data: Buffer, at: int, preserved: bool) -> tuple[int, ...]:
    """What no store changes of the header at ``at``: all fields but base offset and leader epoch; where
    batches are not preserved, those from the last offset delta on, without the base timestamp under log
    append time (rule 8 of the store's contract)."""
    header: tuple[int, ...] = HEADER.unpack_from(data, at)
    if preserved:
        return (header[1], *header[3:])
    return (header[6], *header[8:]) if header[5] & LOG_APPEND_TIME else header[6:]
