"""Trims: DeleteRecords and retention raise the log start offset."""

from __future__ import annotations

import logging

from kgw_core.errors import OffsetOutOfRange
from kgw_core.log.log_state import LogState
from kgw_core.log.outcome import explained, is_certain, lose
from kgw_core.log.waiting import tell_changed
from kgw_core.spi.storage import Fenced

logger = logging.getLogger(__name__)


async def trim(log: LogState, before: int) -> None:
    """Raise the log start offset of an open log to ``before`` (-1: the high watermark).

    :raises OffsetOutOfRange: ``before`` is above the high watermark.
    :raises KafkaError: the store failed.
    """
    if before == -1:
        before = log.high_watermark
    if before > log.high_watermark or before < 0:
        raise OffsetOutOfRange(f"cannot delete up to {before}, high watermark is {log.high_watermark}")
    if before <= log.start:
        return
    # After a crash right after the trim, the producers of the deleted batches would be unknown.
    snapshots = log.context.snapshots
    if snapshots is not None and log.producers.have_batches_below(before):
        await snapshots.save(log)
    try:
        async with log.changing():
            await log.context.store.trim(log.tp, before, log.leader_epoch)
    except Exception as error:
        if isinstance(error, Fenced):
            lose(log, error.epoch)
        if not is_certain(error):
            await _find_start(log)
        raise explained(error, log.tp) from error
    _begin_at(log, before)


def _begin_at(log: LogState, start: int) -> None:
    if start > log.start:  # another trim may have gone further meanwhile
        log.start = start
        log.context.ledger.trimmed(log.tp, start)
        if log.kind.tails is not None:
            log.kind.tails.drop(log.tp, start)
        tell_changed(log.waiting)
    snapshots = log.context.snapshots
    if snapshots is not None and log.snapshot_offset < start and len(log.producers):
        snapshots.due(log)  # the batches with these producers were deleted


async def _find_start(log: LogState) -> None:
    """A trim has failed, but may have been done. If the store cannot tell, the next trim corrects the
    start."""
    try:
        bounds = await log.context.store.bounds(log.tp)
    except Exception as error:
        logger.warning("%s: the store cannot say where it starts: %r", log.tp, error)
    else:
        _begin_at(log, min(bounds.start, log.high_watermark))
