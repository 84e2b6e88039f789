"""Resolves an append with an unknown outcome: asks the store for the log's end and its last batches.

A store that raises an error other than KafkaError may have written. No client may learn that nothing was
written before that is certain: it would send the records again under a new epoch of its producer, and they
would be stored twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kgw_core.background import Background, Tries
from kgw_core.errors import KafkaError, UnknownTopicOrPartition
from kgw_core.log.append_queue import Flight
from kgw_core.log.kind import LogKind
from kgw_core.records.batch import HEADER, LOG_APPEND_TIME, RecordBatch, iter_batches
from kgw_core.records.record import iter_records
from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.storage import SCAN_BYTES, Buffer, LogStore, OffsetConflict, Run, TopicPartition
from kgw_core.workers import in_thread

_ANY_SIZE = 1 << 31  # the batches were within the limit when they were appended

FIRST_DELAY, LONGEST_DELAY = 0.05, 2.0
"""The delays between two attempts in seconds. Each is twice the one before."""


async def until_known(
    tp: TopicPartition,
    flight: Flight,
    epoch: int,
    store: LogStore,
    ledger: OffsetLedger,
    background: Background,
    kind: LogKind,
) -> Sequence[int] | None:
    """The base offsets of ``flight``, which was made in ``epoch``, in the store; None if it was not stored.
    Asks until store and ledger answer.

    :raises OffsetConflict: others have written at its offset.
    :raises UnknownTopicOrPartition: the topic was deleted.
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
    """The base offsets of ``flight`` in the store, or None if it was not stored.

    An append is atomic, but another leader may have got its first batch again. So each batch is looked up. If
    the store numbers records, others may have written before it and in between. Batches without a sequence
    and with equal records and times cannot be told apart; then one of them is enough.

    :raises OffsetConflict: others have written at its offset.
    :raises Exception: from the store.
    """
    numbers, batches = kind.numbers_records, flight.batches
    start, end, led = (await store.bounds(tp))[:3]
    if numbers:
        first, left = flight.lowest, batches
    else:
        first = batches[0].base_offset
        # Missing batches were stored and deleted since, as by an engine with its own retention.
        left = [batch for batch in batches if batch.base_offset + batch.span > start]
        if start > first and led > epoch:  # or another leader wrote there, and has deleted it
            raise OffsetConflict(first, end)
    wanted = [_identity(batch.data, 0, kind.preserves_batches) for batch in left]
    by_records = not kind.preserves_batches  # without the CRC two batches may have the same header
    offset = max(first, start)
    bases: list[int] = []
    while offset < end and len(bases) < len(wanted):
        runs = await store.read(tp, offset, SCAN_BYTES)
        if not runs:
            raise RuntimeError(f"{tp} ends at {end}, but there is nothing at offset {offset}")
        for found, identity in _identities(runs, kind.preserves_batches):
            if len(bases) == len(wanted):
                break
            same = identity == wanted[len(bases)]
            if same and by_records and found.producer_id < 0:  # else the sequence is unique
                same = await in_thread(_same_records, found, left[len(bases)].data)
            if same:
                bases.append(found.base_offset)
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


def _identities(runs: Sequence[Run], preserved: bool) -> Iterator[tuple[RecordBatch, tuple[int, ...]]]:
    """Each batch with its identity."""
    for run in runs:
        at = 0
        for batch in iter_batches(run.data):
            yield batch, _identity(run.data, at, preserved)
            at += batch.size


def _identity(data: Buffer, at: int, preserved: bool) -> tuple[int, ...]:
    """The part of the header at ``at`` that no store changes: all fields but base offset and leader epoch. If
    batches are not preserved, it is the fields from the last offset delta on, without the base timestamp
    under LogAppendTime (rule 8 of the store's contract)."""
    header: tuple[int, ...] = HEADER.unpack_from(data, at)
    if preserved:
        return (header[1], *header[3:])
    return (header[6], *header[8:]) if header[5] & LOG_APPEND_TIME else header[6:]


def _same_records(found: RecordBatch, appended: Buffer) -> bool:
    """Whether both batches have the same keys, values, headers and times."""
    try:
        both = zip(_contents(found), _contents(RecordBatch(appended)), strict=True)
        return all(one == other for one, other in both)
    except (KafkaError, ValueError):  # another writer's batch may not be readable, or have fewer records
        return False


def _contents(batch: RecordBatch) -> Iterator[tuple[object, ...]]:
    for record in iter_records(batch, max_inflated=_ANY_SIZE):
        yield record.key, record.value, record.headers, record.timestamp
