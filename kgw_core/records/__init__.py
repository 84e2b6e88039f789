"""Records: batches of format v2, the legacy message sets, control records, compression. No I/O.

A batch stays bytes. :class:`RecordBatch` reads its header, :func:`iter_records` its records, and
:func:`build_batch` makes one.
"""

from __future__ import annotations

from kgw_core.records.batch import (
    HEADER,
    HEADER_SIZE,
    LOG_OVERHEAD,
    NO_TIMESTAMP,
    RecordBatch,
    iter_batches,
    magic_of,
    set_log_append_time,
    stamp,
)
from kgw_core.records.builder import build_batch
from kgw_core.records.compression import MAX_INFLATED, Codec, InflatedTooLarge, compress, decompress
from kgw_core.records.control import (
    ControlRecord,
    ControlType,
    build_end_marker,
    end_marker,
    parse_control,
)
from kgw_core.records.convert import downconvert, upconvert
from kgw_core.records.legacy import iter_legacy_records
from kgw_core.records.record import Header, Record, iter_records
from kgw_core.records.scan import find_by_time, has_null_key, max_time_record

__all__ = [
    "HEADER",
    "HEADER_SIZE",
    "LOG_OVERHEAD",
    "MAX_INFLATED",
    "NO_TIMESTAMP",
    "Codec",
    "ControlRecord",
    "ControlType",
    "Header",
    "InflatedTooLarge",
    "Record",
    "RecordBatch",
    "build_batch",
    "build_end_marker",
    "compress",
    "decompress",
    "downconvert",
    "end_marker",
    "find_by_time",
    "has_null_key",
    "iter_batches",
    "iter_legacy_records",
    "iter_records",
    "magic_of",
    "max_time_record",
    "parse_control",
    "set_log_append_time",
    "stamp",
    "upconvert",
]
