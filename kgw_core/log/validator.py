"""Kafka's LogValidator: checks the records of a produced batch, and corrects its header.

Every record is checked. A batch is refused as a whole if some records are malformed, have times that the
topic does not allow, or lack keys on a compacted topic; the refusal names them. Kafka checks compressed
batches less, and takes some that its own consumers cannot read: docs/reference/corrupt-batches.md lists them.
The max timestamp in the header is corrected, and a timestamp type other than the topic's is removed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice
from typing import Final, Literal, TypeAlias

from kgw_core.errors import CorruptMessage, InvalidRecord, InvalidTimestamp, MessageTooLarge
from kgw_core.log.batch_header import Header, check_header_times
from kgw_core.log.rewrite import repacked, set_times, target_codec
from kgw_core.records import walk as walking
from kgw_core.records.batch import (
    CODEC_MASK,
    DELETE_HORIZON,
    HEADER,
    HEADER_SIZE,
    LOG_APPEND_TIME,
    NO_TIMESTAMP,
)
from kgw_core.records.compression import RECORD_COST, SMALLEST, Data
from kgw_core.records.inflate import InflatedTooLarge
from kgw_core.records.pieces import inflate_arrived
from kgw_core.records.walk import OUT_OF_ORDER, Fault, Glance
from kgw_core.topics.configs import TopicConfigs

CheckRecords: TypeAlias = Literal["all", "frame", "header"]
"""``topics.check_records``: check all of each record, only its length, or only the batch's header."""

MOST_NAMED: Final = 1000
"""The most records that a refusal names."""

ON_LOOP_SLOWLY: Final = 1_000
"""The most records that Python checks on the event loop: about a millisecond."""
ON_LOOP_RECORDS: Final = 100_000 if walking.COMPILED else ON_LOOP_SLOWLY
"""The most records that compiled code checks there, which takes as long."""
ON_LOOP_INFLATED: Final = 1 << 20
"""The most bytes that are inflated there, which takes one to three milliseconds."""
ON_LOOP_PACKED: Final = 64 << 10
"""The most bytes that are compressed there, which takes as long."""
_USUAL_RATIOS: Final = (1, 4, 2, 2, 4)
"""The assumed inflation of a batch before it is tried, by codec."""

_BROKERS_ONLY: Final = LOG_APPEND_TIME | DELETE_HORIZON
"""The attributes that only a broker sets."""
_UNUSUAL: Final = CODEC_MASK | _BROKERS_ONLY
_NO_TIMES: Final = (NO_TIMESTAMP, NO_TIMESTAMP)


class _Memory(threading.local):
    """The inflating memory of each event loop, as a process may have several. Fresh memory costs more than
    inflating."""

    def __init__(self) -> None:
        self.room = memoryview(bytearray(ON_LOOP_INFLATED))


_memory = _Memory()
_MIN_INT64, _MAX_INT64 = -(1 << 63), (1 << 63) - 1


class TakesLong(Exception):
    """The check of the records would hold the event loop for too long."""


class NamesRecords:
    """An error about the records of a batch with these indexes (KIP-467)."""

    batch_indexes: list[int]


class RefusedRecords(NamesRecords, InvalidRecord):
    """Records are malformed, or the topic does not allow them."""

    def __init__(self, message: str, batch_indexes: list[int]) -> None:
        super().__init__(message)
        self.batch_indexes = batch_indexes


class RefusedTimestamps(NamesRecords, InvalidTimestamp):
    """The topic does not allow the times of some records."""

    def __init__(self, message: str, batch_indexes: list[int]) -> None:
        super().__init__(message)
        self.batch_indexes = batch_indexes


def validate(
    data: memoryview,
    header: Header,
    configs: TopicConfigs,
    now: int,
    checking: CheckRecords,
    max_inflated: int,
    on_loop: bool,
) -> tuple[memoryview, int]:
    """Check the batch. Return it as it will be stored, except for offset and LogAppendTime, and its max
    timestamp.

    The header of ``data`` is corrected in place. The result is other memory if the records are compressed
    again: for the topic's codec, or because not every client can read them.

    :param now: ms since the epoch.
    :param max_inflated: the most bytes that the records may inflate to.
    :param on_loop: this is the event loop: give up if the check takes long.
    :raises TakesLong: the check takes long.
    :raises RefusedRecords: records are malformed, lack a key on a compacted topic, or, in a compressed batch,
        exceed ``max.decompressed.message.bytes``.
    :raises RefusedTimestamps: records are outside ``message.timestamp.before/after.max.ms``, or have a
        timestamp type that clients must not set.
    :raises InvalidRecord: the records cannot be decompressed.
    :raises MessageTooLarge: they inflate to more than ``max_inflated``, or the batch, compressed again,
        exceeds ``max.message.bytes``.
    """
    _, _, _, _, _, attributes, _, base_time, max_time, _, _, _, count = header
    if (
        not attributes & _UNUSUAL
        and not configs.rewrites
        and not configs.compact
        and checking == "all"
        and count <= ON_LOOP_RECORDS
        and (found := walking.walk(data, HEADER_SIZE, count)) is not None
    ):
        flags, earliest, latest = found
        if (
            flags < OUT_OF_ORDER
            and base_time + latest == max_time
            and NO_TIMESTAMP <= max_time <= now + configs.timestamp_after_max_ms
            and base_time + earliest >= now - configs.timestamp_before_max_ms
            and count * RECORD_COST <= max_inflated
        ):
            return data, max_time  # nearly all batches return here
    return _validate_fully(data, header, configs, now, checking, max_inflated, on_loop)


def _validate_fully(
    data: memoryview,
    header: Header,
    configs: TopicConfigs,
    now: int,
    checking: CheckRecords,
    max_inflated: int,
    on_loop: bool,
) -> tuple[memoryview, int]:
    attributes, base_time, max_time, count = header[5], header[7], header[8], header[12]
    codec = attributes & CODEC_MASK
    target = target_codec(configs, codec)
    less = checking != "all" and target == codec and not configs.compact
    if on_loop and not (less and checking == "header"):
        _check_short(header[1], count, codec, target)
    if less:
        _validate_less(data, header, configs, now, checking, max_inflated, on_loop)
        if max_time < base_time and not configs.log_append_time:  # the first record's time, for retention
            set_times(data, attributes, base_time)
            max_time = base_time
        return data, max_time

    records: Data = data
    at, readable = HEADER_SIZE, True
    if codec:
        records, readable = _inflated(data, codec, max_inflated, on_loop)
        at = 0
    if count * RECORD_COST > max_inflated:
        _check_count(count, len(records) - at, max_inflated)
    found = walking.walk(records, at, count)
    if found is None:
        _check_few(on_loop, count)
        raise _not_well_formed(walking.fault_in(records, at, count))
    flags, earliest, latest = found
    if flags:
        _check_flags(flags, records, at, count, configs, on_loop)
    if codec and len(records) > configs.max_decompressed_bytes:
        _check_sizes(records, count, configs.max_decompressed_bytes, on_loop)
    earliest += base_time
    latest += base_time
    if configs.log_append_time:
        if attributes & LOG_APPEND_TIME:
            raise _wrong_timestamp_type(count)
        if earliest < _MIN_INT64 or latest > _MAX_INT64:
            _check_times(records, at, count, base_time, _MIN_INT64, _MAX_INT64, on_loop)
        latest = max_time
    else:
        if attributes & LOG_APPEND_TIME:
            _check_claimed(max_time, count, configs, now)
        first, last = now - configs.timestamp_before_max_ms, now + configs.timestamp_after_max_ms
        if (latest > last or earliest < first or latest > _MAX_INT64) and (earliest, latest) != _NO_TIMES:
            first, last = max(first, _MIN_INT64), min(last, _MAX_INT64)
            _check_times(records, at, count, base_time, first, last, on_loop)
        if latest < NO_TIMESTAMP:
            latest = NO_TIMESTAMP
    if latest != max_time or attributes & _BROKERS_ONLY:
        set_times(data, attributes & ~_BROKERS_ONLY, latest)
    if target != codec or not readable:
        data = repacked(data, target, records if codec else data[HEADER_SIZE:], configs)
    return data, latest


def validated_in_thread(
    data: memoryview, configs: TopicConfigs, now: int, checking: CheckRecords, max_inflated: int
) -> memoryview:
    """The result of :func:`validate` with all checks, however long they take. For a thread."""
    header = HEADER.unpack_from(data)
    return _validate_fully(data, header, configs, now, checking, max_inflated, on_loop=False)[0]


def _check_short(size: int, count: int, codec: int, target: int) -> None:
    """Return if the header promises a short check. :raises TakesLong: it does not."""
    inflated = size * _USUAL_RATIOS[codec]
    if count > ON_LOOP_RECORDS or (codec and inflated > ON_LOOP_INFLATED):
        raise TakesLong
    if target != codec and inflated > ON_LOOP_PACKED:
        raise TakesLong


def _validate_less(
    data: memoryview,
    header: Header,
    configs: TopicConfigs,
    now: int,
    checking: CheckRecords,
    max_inflated: int,
    on_loop: bool,
) -> None:
    """Check less, as ``topics.check_records`` is not "all": the lengths and the number of the records, or
    only the times in the header."""
    check_header_times(header, configs, now)
    if checking == "header":
        return
    records: Data = data
    at, codec, count = HEADER_SIZE, header[5] & CODEC_MASK, header[12]
    if codec:
        records, _ = _inflated(data, codec, max_inflated, on_loop)
        at = 0
    if walking.walk(records, at, count, True) is None:
        _check_few(on_loop, count)
        raise _not_well_formed(walking.fault_in(records, at, count, True))


def _inflated(data: memoryview, codec: int, max_inflated: int, on_loop: bool) -> tuple[Data, bool]:
    """The inflated records of a compressed batch, and whether every client can read their compression.

    On the event loop they are in memory that the next batch uses again.
    """
    payload = data[HEADER_SIZE:]
    try:
        if on_loop:
            return inflate_arrived(codec, payload, min(max_inflated, ON_LOOP_INFLATED), _memory.room)
        return inflate_arrived(codec, payload, max_inflated)
    except InflatedTooLarge as error:
        if on_loop and max_inflated > ON_LOOP_INFLATED:
            raise TakesLong from None
        raise MessageTooLarge(str(error)) from None
    except CorruptMessage as error:  # the CRC was right, so the client sent it so, and a retry would not help
        raise InvalidRecord(f"the records cannot be decompressed: {error}") from None


def _check_count(count: int, size: int, max_inflated: int) -> None:
    """Check the number of records. :raises MessageTooLarge: ``size`` bytes may have that many records, which
    are too many to check."""
    if count * SMALLEST <= size:
        raise MessageTooLarge(
            f"a batch of {count} records is not looked into, at most {max_inflated // RECORD_COST} are"
        )


def _check_few(on_loop: bool, count: int) -> None:
    """Refuse malformed records. :raises TakesLong: a thread has to find the reason."""
    if on_loop and count > ON_LOOP_SLOWLY:
        raise TakesLong


def _not_well_formed(fault: Fault) -> RefusedRecords:
    return RefusedRecords(str(fault), [fault.number])


def _check_flags(
    flags: int, records: Data, at: int, count: int, configs: TopicConfigs, on_loop: bool
) -> None:
    """Check the flags. :raises RefusedRecords: the offset deltas do not count up, or a required key is
    missing."""
    if flags & OUT_OF_ORDER:
        _check_few(on_loop, count)
        wrong = _wrong_records(records, at, count, lambda glance: glance.offset_delta != glance.number)
        raise RefusedRecords("the records' offset deltas are not 0, 1, 2 and so on", wrong)
    if configs.compact:
        _check_few(on_loop, count)
        wrong = _wrong_records(records, at, count, lambda glance: not glance.has_key)
        raise RefusedRecords("compacted topics take no record without a key", wrong)


def _check_sizes(records: Data, count: int, most: int, on_loop: bool) -> None:
    """Check the lengths. :raises RefusedRecords: some records exceed ``max.decompressed.message.bytes``."""
    _check_few(on_loop, count)
    if wrong := _wrong_records(records, 0, count, lambda glance: glance.size > most):
        raise RefusedRecords(f"compressed records are over max.decompressed.message.bytes = {most}", wrong)


def _check_times(
    records: Data, at: int, count: int, base_time: int, first: int, last: int, on_loop: bool
) -> None:
    """Check the times. :raises RefusedTimestamps: some records have a time outside of the bounds."""
    _check_few(on_loop, count)

    def outside(glance: Glance) -> bool:
        time = base_time + glance.time_delta
        return time != NO_TIMESTAMP and not first <= time <= last

    if wrong := _wrong_records(records, at, count, outside):
        raise RefusedTimestamps(f"records have timestamps that are not between {first} and {last}", wrong)


def _check_claimed(max_time: int, count: int, configs: TopicConfigs, now: int) -> None:
    """Check a batch with LogAppendTime by Kafka's rule: its max timestamp is the time of all records.

    :raises RefusedTimestamps: it is missing or outside the bounds.
    """
    first, last = now - configs.timestamp_before_max_ms, now + configs.timestamp_after_max_ms
    if max_time == NO_TIMESTAMP or not first <= max_time <= last:
        raise _wrong_timestamp_type(count)


def _wrong_timestamp_type(count: int) -> RefusedTimestamps:
    all_records = list(range(min(count, MOST_NAMED)))
    return RefusedTimestamps("clients may not set the timestamp type to LogAppendTime", all_records)


def _wrong_records(records: Data, at: int, count: int, wrong: Callable[[Glance], bool]) -> list[int]:
    """The indexes of the first wrong records, of records that are well formed."""
    found = (glance.number for glance in walking.glances(bytes(records), at, count) if wrong(glance))
    return list(islice(found, MOST_NAMED))
