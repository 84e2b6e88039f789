"""Runs of batches, cut at an upper bound."""

from __future__ import annotations

from collections.abc import Sequence

from kgw_core.records.batch import iter_batches
from kgw_core.records.segments import Run


def up_to(runs: Sequence[Run], below: int | None) -> Sequence[Run]:
    """``runs`` without batches that have offsets of ``below`` or later (None: all of them)."""
    if below is None or not runs or runs[-1].next_offset <= below:
        return runs
    whole: list[Run] = []
    for run in runs:
        if run.next_offset <= below:
            whole.append(run)
            continue
        size, next_offset = 0, run.base_offset
        for batch in iter_batches(run.data):
            if batch.next_offset > below:
                break
            size += batch.size
            next_offset = batch.next_offset
        if size:
            whole.append(Run(run.base_offset, next_offset, memoryview(run.data)[:size]))
        break
    return whole
