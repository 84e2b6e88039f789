"""The outcome of an append in the store, and its consequences for the log.

If an append has certainly failed, all queued batches are answered with a retriable error, the log closes, and
its next use reads everything again. While the outcome is unknown (:mod:`kgw_core.log.resolving`), no batch is
answered, and later ones are queued.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import chain

from kgw_core.errors import KafkaError, KafkaStorageError, NotLeaderOrFollower, UnknownTopicOrPartition
from kgw_core.log import snapshots
from kgw_core.log.append_queue import Flight
from kgw_core.log.log_state import LogState
from kgw_core.log.producers import Producers
from kgw_core.log.resolving import until_known
from kgw_core.log.waiting import tell_appended, tell_changed, tell_closed
from kgw_core.spi.ledger import NotLeader
from kgw_core.spi.storage import Buffer, Fenced, OffsetConflict, TopicPartition

logger = logging.getLogger(__name__)

# -- the errors of a store


def explained(error: Exception, tp: TopicPartition) -> KafkaError:
    """The error for clients. An unexpected error is logged."""
    if isinstance(error, KafkaError):
        return error
    if isinstance(error, OffsetConflict | Fenced | NotLeader):
        logger.warning("%s: %s; somebody else leads it", tp, error)
        return NotLeaderOrFollower(f"{tp}: {error}")
    logger.error("storage failed on %s: %r", tp, error, exc_info=error)
    return KafkaStorageError(f"storage failed on {tp}: {error}")


def is_certain(error: Exception) -> bool:
    """Whether ``error`` means that nothing was written (rule 12 of the store's contract)."""
    return isinstance(error, KafkaError | OffsetConflict | Fenced)


def _retriable(failure: KafkaError, tp: TopicPartition) -> KafkaError:
    """The error of batches that are refused only because another batch failed."""
    if failure.retriable:
        return failure
    return KafkaStorageError(f"{tp}: another append failed: {failure}")


# -- the append in flight


def settle(log: LogState, answer: Sequence[int] | Exception) -> Exception | None:
    """Settle the append in flight with the answer of the store: the base offset of each batch, or the error.

    Return the error that leaves the outcome unknown, or None. With it the append stays in flight, and
    everything waits until the store knows the outcome (:func:`resolved`).
    """
    flight = log.queue.in_flight
    assert flight is not None, "the store has answered for it"
    if isinstance(answer, Exception):
        if not is_certain(answer):
            return answer
        if log.ready and len(flight.batches) > 1 and isinstance(answer, KafkaError) and not answer.retriable:
            log.queue.one_by_one()  # it is unknown which of them the store refuses
        else:
            _not_stored(log, log.queue.landed(), answer)
        return None
    try:
        high_watermark = log.context.ledger.committed(log.tp, flight.end(answer))
    except Exception as error:
        return error
    if high_watermark > log.high_watermark:  # batches of other writers may be committed, too
        log.high_watermark = high_watermark
    _stored(log, log.queue.landed(), answer)
    return None


async def resolved(log: LogState, error: Exception) -> Sequence[int] | Exception:
    """The outcome of the append in flight, which ``error`` leaves unknown. This may take long.

    Returns the base offset of each batch, or an error if none was stored.
    """
    context = log.context
    flight = log.queue.in_flight
    assert flight is not None
    logger.error(
        "storage failed on %s, and may have written all the same: %r; asking it what it has",
        log.tp, error, exc_info=error,
    )  # fmt: skip
    try:
        bases = await until_known(
            log.tp, flight, log.leader_epoch, context.store, context.ledger, context.background, log.kind
        )
    except (UnknownTopicOrPartition, OffsetConflict) as answer:
        return answer
    if bases is None:
        logger.warning("%s: %d batch(es) were not stored", log.tp, len(flight.batches))
        return KafkaStorageError(f"storage failed on {log.tp}, and has not stored it: {error}")
    logger.warning("%s: %d batch(es) were stored at offset %d", log.tp, len(bases), bases[0])
    return bases


def _stored(log: LogState, flight: Flight, bases: Sequence[int]) -> None:
    context = log.context
    outcomes = flight.outcomes(bases, log.producers)
    if context.writers.late:
        context.writers.in_time()
    if log.kind.tails is not None and log.ready:
        log.kind.tails.append(log.tp, bases[0], flight.batches)
    if not log.immediate and not log.queue.waiting:
        log.immediate = log.kind.immediate
    flight.resolve(outcomes)
    if log.waiting:
        tell_appended(log.waiting, flight.size)
    log.unsaved += flight.size
    if log.unsaved >= snapshots.EVERY_BYTES and context.snapshots is not None:
        log.unsaved = 0
        context.snapshots.due(log)


def _not_stored(log: LogState, flight: Flight, error: Exception) -> None:
    refused = [batch.data for batch in flight.batches]
    failure = fail_appends(log, error, flight.batches[0].base_offset, refused)
    if failure is not error and failure.__cause__ is None:
        failure.__cause__ = error
    flight.fail(failure)


# -- failures


def fail_appends(
    log: LogState, error: Exception, base: int = -1, refused: Iterable[Buffer] = ()
) -> KafkaError:
    """An append at the offset ``base`` failed (-1: it has none): drop all tentative state, fail the queued
    batches and close the log. Return the error for clients.

    ``refused`` are the batches that are answered before the queued ones.
    """
    context = log.context
    failure = explained(error, log.tp)
    log.ready = False
    if isinstance(error, Fenced | OffsetConflict):
        context.ledger.fenced(log.tp, getattr(error, "epoch", -1))
    log.immediate = log.kind.immediate
    if isinstance(failure, NotLeaderOrFollower | UnknownTopicOrPartition):
        log.producers = Producers()  # others may have written; else the acknowledged state stays valid
        tell_changed(log.waiting)
    else:
        tell_closed(log.waiting)
    if log.kind.tails is not None:
        log.kind.tails.drop(log.tp)
    if base >= 0:
        context.ledger.released(log.tp, base)
    if not failure.retriable:
        refused = ()
    _remember_refused(log, chain(refused, (item.batch.data for item in log.queue.waiting)))
    log.queue.fail(_retriable(failure, log.tp))
    return failure


def lose(log: LogState, epoch: int) -> None:
    """Another gateway leads the log, in ``epoch`` (-1: unknown). The append in flight is answered when the
    store has answered."""
    if log.ready and 0 <= epoch < log.leader_epoch:
        return  # that was before this gateway led again
    log.lost = True
    if log.ready:
        fail_appends(log, Fenced(log.tp, epoch))
    else:
        log.producers = Producers()
        log.context.ledger.fenced(log.tp, epoch)


def refuse(log: LogState, batches: Iterable[Buffer]) -> None:
    """These batches were refused with a retriable error. If earlier appends are deferred, the refusal is
    remembered after them; else these batches would have to come before them."""
    if log.deferred is None:
        _remember_refused(log, batches)
    else:
        for data in batches:
            log.deferred.refuse(data)


def refuse_damaged(log: LogState, data: Buffer) -> None:
    """This batch arrived damaged, and its client sends it again."""
    _remember_refused(log, (data,), damaged=True)


def _remember_refused(log: LogState, batches: Iterable[Buffer], damaged: bool = False) -> None:
    """Until these batches come again, no later batch of their producers may take their place
    (:mod:`kgw_core.log.refused`)."""
    refused = log.context.refused
    if log.topic.deleted:
        refused.remember_absent(log.tp.topic, log.tp.partition, batches)
    else:
        producers = log.producers if log.ready else None
        refused.remember_batches(log.tp, batches, producers, damaged)
