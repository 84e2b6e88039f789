"""Checks that every client can read the records of a stored batch, and that its header agrees with them."""

from __future__ import annotations

from kgw_core.errors import KafkaError
from kgw_core.records.batch import NO_TIMESTAMP, RecordBatch
from kgw_core.records.compression import MAX_INFLATED, Data
from kgw_core.records.pieces import inflate_arrived
from kgw_core.records.walk import OUT_OF_ORDER, fault_in, walk


def problem_of(
    batch: RecordBatch, *, compacted: bool = False, max_inflated: int = MAX_INFLATED
) -> str | None:
    """The problem of the records, or None. The CRC is not checked.

    :param compacted: compaction may have removed records between the others.
    """
    if not batch.record_count:
        return None if compacted else "it has no records"
    records: Data = batch.payload
    if batch.codec:
        try:
            records, readable = inflate_arrived(batch.codec, records, max_inflated)
        except KafkaError as error:
            return f"its records cannot be decompressed: {error}"
        if not readable:
            return "its records are compressed in several pieces, or other bytes follow them"
    walked = walk(records, 0, batch.record_count)
    if walked is None:
        return str(fault_in(records, 0, batch.record_count))
    flags, _, latest = walked
    if flags & OUT_OF_ORDER and not compacted:
        return "the offset deltas of its records do not count up"
    latest = max(batch.base_timestamp + latest, NO_TIMESTAMP)
    if batch.max_timestamp != latest and not batch.log_append_time:
        return f"its max timestamp is {batch.max_timestamp}, that of its records {latest}"
    return None
