"""What a store has acknowledged of what it gives to read: it may hold more than that already."""

from __future__ import annotations

from collections.abc import Sequence

from kgw_core.records.batch import iter_batches
from kgw_core.spi.storage import Run


def acknowledged(runs: Sequence[Run], high_watermark: int) -> Sequence[Run]:
    """``runs`` without the batches that go beyond ``high_watermark``."""
    if not runs or runs[-1].next_offset <= high_watermark:
        return runs
    kept: list[Run] = []
    for run in runs:
        if run.next_offset <= high_watermark:
            kept.append(run)
            continue
        size, next_offset = 0, run.base_offset
        for batch in iter_batches(run.data):
            if batch.next_offset > high_watermark:
                break
            size += batch.size
            next_offset = batch.next_offset
        if size:
            kept.append(Run(run.base_offset, next_offset, memoryview(run.data)[:size]))
        break
    return kept
