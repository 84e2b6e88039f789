"""Codecs and records without a socket: whatever goes in, an error that is meant comes out, or a value.

``play`` chooses inputs at random; where atheris is installed, coverage chooses others as well
(:mod:`tests.fuzz.guided`).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

from kgw_core import wire
from kgw_core.errors import KafkaError
from kgw_core.records import (
    Codec,
    Record,
    RecordBatch,
    build_batch,
    compress,
    decompress,
    downconvert,
    find_by_time,
    has_null_key,
    iter_batches,
    iter_legacy_records,
    iter_records,
    max_time_record,
    parse_control,
    upconvert,
    walk,
)
from kgw_core.records.compression import RECORD_COST
from kgw_core.records.record import MAX_INT64, MIN_INT64
from tests.fuzz import mutate, seeds
from tests.fuzz.attack import Finding
from tests.fuzz.batches import batch, with_fields
from tests.fuzz.message_sets import message, message_set

LIMIT = 1 << 20
"""To what anything may inflate here."""

MUTATORS: tuple[mutate.Mutator, ...] = (
    mutate.flipped,
    mutate.cut,
    mutate.inserted,
    mutate.huge_count,
    mutate.not_utf8,
    mutate.tagged,
)


def decode_message(data: bytes, name: str, version: int) -> str:
    """Decode; what can be decoded can be encoded, and means the same again."""
    cls = wire.message(name)
    try:
        found = wire.decode(cls, version, data)
    except wire.MalformedMessage:
        return "MalformedMessage"
    again = wire.encode(found, version)
    if name.endswith("Request") and wire.encode(wire.decode(cls, version, again), version) != again:
        raise Finding(f"{name} v{version}: {data.hex()} does not come back as it was")
    return "decoded"


def read_batch(data: bytes) -> str:
    """Everything that the gateway may do with a batch whose header it has checked."""
    outcome = "read"
    try:
        for each in iter_batches(data):
            each.check_crc()
            check_walk(each)
            for look in (
                lambda each: list(iter_records(each, max_inflated=LIMIT)),
                lambda each: has_null_key(each, max_inflated=LIMIT),
                lambda each: find_by_time(each, 5, max_inflated=LIMIT),
                lambda each: max_time_record(each, max_inflated=LIMIT),
                lambda each: list(downconvert(bytes(each.data), 1, max_inflated=LIMIT)),
                lambda each: list(downconvert(bytes(each.data), 0, max_inflated=LIMIT)),
                lambda each: [parse_control(record) for record in _records(each) if each.is_control],
            ):
                outcome = _refused(look, each) or outcome
    except KafkaError as error:
        return type(error).__name__
    return outcome


def check_walk(batch: RecordBatch) -> None:
    """Both forms of the walk find the same, and what it passes the strict reader reads."""
    count = batch.record_count
    try:
        data = batch.inflate(LIMIT)
    except KafkaError:
        return
    walked = walk.walk(data, 0, count)
    if walked != walk.walk_or_none(data, 0, count):
        raise Finding(f"the walk over {count} records is {walked}, in Python another: {data.hex()}")
    if walked is not None and count * RECORD_COST <= LIMIT and not walked[0] & walk.OUT_OF_ORDER:
        times = [batch.base_timestamp + delta for delta in walked[1:]]
        if MIN_INT64 <= min(times) <= max(times) <= MAX_INT64 and batch.last_offset_delta >= count - 1:
            found = [record.timestamp for record in iter_records(batch, max_inflated=LIMIT)]
            if not batch.log_append_time and [min(found), max(found)] != times:
                raise Finding(f"the walk found times {times}, the reader {min(found)} to {max(found)}")


def _records(batch: RecordBatch) -> list[Record]:
    return list(iter_records(batch, max_inflated=LIMIT))


def read_message_set(data: bytes) -> str:
    """Read and convert; what is converted is a batch with as many records as were read."""
    outcome = _refused(lambda data: list(iter_legacy_records(data, max_inflated=LIMIT)), data)
    try:
        made = upconvert(data, max_inflated=LIMIT)
    except KafkaError as error:
        return type(error).__name__
    if made:
        RecordBatch(made).check_crc()
        list(iter_records(RecordBatch(made), max_inflated=LIMIT))
    return outcome or "converted"


def inflate(data: bytes, codec: int) -> str:
    """Decompress; never more than the limit."""
    try:
        made = decompress(codec, data, LIMIT)
    except KafkaError as error:
        return type(error).__name__
    if len(made) > LIMIT and codec:
        raise Finding(f"{len(made)} bytes of codec {codec} within a limit of {LIMIT}")
    return "inflated"


def _refused(look: Callable[..., object], data: object) -> str:
    try:
        look(data)
    except KafkaError as error:
        return type(error).__name__
    return ""


Case = tuple[str, Callable[..., str], bytes, tuple[int | str, ...]]


def case(rng: random.Random) -> Case:
    """One thing to try: what it is, the function, its input, what else the function takes."""
    kind = rng.random()
    change = rng.choice(MUTATORS)
    if kind < 0.5:
        (name, version), rows = rng.choice(_ROWS())
        data = change(rng.choice(rows), rng)
        if rng.random() < 0.3:
            data = rng.choice(MUTATORS)(data, rng)
        return "wire.decode", decode_message, data, (name, version)
    if kind < 0.7:
        made = bytearray(change(bytes(_a_batch(rng)), rng))
        if len(made) > 61 and rng.random() < 0.8:
            made = with_fields(made, length=len(made) - 12)
        return "record batches", read_batch, bytes(made), ()
    if kind < 0.85:
        codec = Codec(rng.randrange(4))
        data = message_set(rng, codec=codec)
        if codec and rng.random() < 0.5:  # wrong inside, right outside
            inner = change(message_set(rng, 1), rng)
            data = message(compress(codec, inner), attributes=int(codec), offset=rng.randrange(9))
        else:
            data = change(data, rng)
        return "message sets", read_message_set, data, ()
    number = rng.randint(1, 4)
    plain = rng.choice((bytes(rng.randrange(3 << 20)), rng.randbytes(rng.randrange(1, 3_000))))
    return "decompress", inflate, change(compress(number, plain), rng), (number,)


def _a_batch(rng: random.Random) -> bytearray:
    if rng.random() < 0.1:
        return build_batch([(b"\0\0\0\1", b"\0" * 6)], control=True)
    return batch(rng, Codec(rng.randrange(5)))


def _ROWS() -> list[tuple[tuple[str, int], list[bytes]]]:
    return _rows if _rows else _rows.extend(seeds.vectors().items()) or _rows


_rows: list[tuple[tuple[str, int], list[bytes]]] = []


def play(rng: random.Random, seconds: float, least: int = 3_000) -> Counter[str]:
    """Try cases for so long; at least ``least`` of them. Returns how many led to what.

    :raises Finding: an error that is not meant; its ``case`` says which.
    """
    counts: Counter[str] = Counter()
    began = time.monotonic()
    while sum(counts.values()) < least or time.monotonic() - began < seconds:
        what, function, data, more = case(rng)
        started = time.perf_counter()
        try:
            outcome = function(data, *more)
        except Exception as error:
            finding = Finding(f"{what} {more}: {error!r} for {data[:2000].hex()}")
            finding.data = data  # type: ignore[attr-defined]
            raise finding from error
        if time.perf_counter() - started > 2:
            finding = Finding(f"{what} {more}: took {time.perf_counter() - started:.1f} s")
            finding.data = data  # type: ignore[attr-defined]
            raise finding
        counts[f"{what}: {outcome}"] += 1
    return counts
