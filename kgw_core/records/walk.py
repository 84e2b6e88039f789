"""Checks all records of a produced batch, as Kafka's LogValidator: their framing, times, keys and offsets.

The check builds no records. :func:`walk` is compiled (``_walk.c``) if a compiler was present when the package
was built, else it is :func:`walk_python`. For a batch with a fault :func:`walk_python` finds the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from kgw_core.records.alike import alike
from kgw_core.records.compression import Data
from kgw_core.records.varint import read_raw32, read_raw64, zigzag

NULL_KEY: Final = 1
"""Flag: a record has no key."""
OUT_OF_ORDER: Final = 2
"""Flag: the offset deltas are not 0, 1, 2 …"""

Walked: TypeAlias = tuple[int, int, int]
"""Flags, and the lowest and highest timestamp delta of a record in ms."""


class Fault(NamedTuple):
    """The first malformed record: its index in the batch, and the reason."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"record {self.number}: {self.reason}"


class Glance(NamedTuple):
    """The fields of a record that :func:`glances` reads."""

    number: int
    size: int
    time_delta: int
    offset_delta: int
    has_key: bool


def walk_python(data: bytes, at: int, count: int, frame: bool = False) -> Walked | Fault:
    """Check ``count`` records (at least one), which have to fill ``data`` from ``at`` on.

    A record is well formed if every client can read it: lengths and counts agree, varints fit the 32 or 64
    bits of their field, and only the key, the value and a header's value may have the length -1 (null). The
    attributes are unused, but kafka-python reads them as a varint, so they must be below 0x80. Sarama counts
    the bytes that a record's length needs, so it must have no more. The key of a header must be
    UTF-8: Python clients stop for ever at a key that is not.

    :param frame: check only the lengths and the number of records; the result is then zeros.
    """
    if frame:
        return _frame(data, at, count)
    flags = index = 0
    lowest, highest, last = 1 << 63, -1 << 63, -1
    width, again, wait = 0, 0, 16
    numbers = iter(range(count))
    try:
        # This loop runs once for each record, and reads varints of one or two bytes inline. A wrong length
        # may lead past the end of the record, which is noticed after its last field, or past the end of the
        # data, which raises IndexError.
        for index in numbers:
            begin = at
            length = data[at]
            at += 1
            if length > 0x7F:
                if 0 < (more := data[at]) < 0x80:
                    length += (more << 7) - 0x80
                    at += 1
                else:
                    length, at = read_raw32(data, begin)
                    if not data[at - 1]:
                        return Fault(index, "its length is written in more bytes than it needs")
            start = at
            if data[at] > 0x7F:
                return Fault(index, f"its attributes are {data[at]:#x}")
            delta = data[at + 1]
            at += 2
            if delta > 0x7F:
                delta, at = read_raw64(data, at - 1)
            if delta != last:
                last = delta
                delta = delta >> 1 ^ -(delta & 1)
                if delta > highest:
                    highest = delta
                if delta < lowest:
                    lowest = delta
            number = data[at]
            at += 1
            if number > 0x7F:
                if (more := data[at]) < 0x80:
                    number += (more << 7) - 0x80
                    at += 1
                else:
                    number, at = read_raw32(data, at - 1)
            if number != index << 1:
                flags |= OUT_OF_ORDER
            size = data[at]
            at += 1
            if size > 0x7F:
                size, at = read_raw32(data, at - 1)
            if not size & 1:
                at += size >> 1
            elif size == 1:
                flags |= NULL_KEY
            else:
                return Fault(index, f"its key has a length of {zigzag(size)}")
            size = data[at]
            at += 1
            if size > 0x7F:
                if (more := data[at]) < 0x80:
                    size += (more << 7) - 0x80
                    at += 1
                else:
                    size, at = read_raw32(data, at - 1)
            if not size & 1:
                at += size >> 1
            elif size != 1:
                return Fault(index, f"its value has a length of {zigzag(size)}")
            if data[at]:
                at = _past_headers(data, at, start + (length >> 1))
            else:
                at += 1
            if (at - start) << 1 != length:
                return Fault(index, f"its fields take {at - start} bytes, its length is {zigzag(length)}")
            if at - begin != width:
                width = at - begin
            elif index >= again:  # two records of one size: more may follow
                found, low, high = alike(data, begin, at, index, count)
                if found:
                    at += found * width
                    lowest, highest = min(lowest, low), max(highest, high)
                    index += found
                    next(islice(numbers, found - 1, found))
                    wait = 16
                else:
                    again = index + wait
                    wait = min(2 * wait, 1024)
    except IndexError:
        return Fault(index, "the batch ends before it does")
    except ValueError as error:
        return Fault(index, str(error))
    return _beyond(data, at, index) or (flags, lowest, highest)


def _frame(data: bytes, at: int, count: int) -> Walked | Fault:
    index = 0
    try:
        for index in range(count):
            length = data[at]
            at += 1
            if length > 0x7F:
                if 0 < (more := data[at]) < 0x80:
                    length += (more << 7) - 0x80
                    at += 1
                else:
                    length, at = read_raw32(data, at - 1)
                    if not data[at - 1]:
                        return Fault(index, "its length is written in more bytes than it needs")
            if length & 1:
                return Fault(index, f"its length is {zigzag(length)}")
            at += length >> 1
    except IndexError:
        return Fault(index, "the batch ends before it does")
    except ValueError as error:
        return Fault(index, str(error))
    return _beyond(data, at, index) or (0, 0, 0)


def _beyond(data: bytes, at: int, index: int) -> Fault | None:
    """The fault of the last record, which ends at ``at``, if it has one."""
    if at > len(data):
        return Fault(index, "its length runs over the batch")
    if at < len(data):
        return Fault(index, f"{len(data) - at} bytes follow it, though the batch says that it is the last")
    return None


def _past_headers(data: bytes, at: int, end: int) -> int:
    """The position after the headers.

    :raises ValueError: a header is malformed.
    :raises IndexError: the headers end after the data.
    """
    count, at = read_raw32(data, at)
    if count & 1:
        raise ValueError(f"it has {zigzag(count)} headers")
    for number in range(count >> 1):
        if at >= end:
            raise ValueError(f"it ends in front of header {number} of {count >> 1}")
        size, at = read_raw32(data, at)
        if size & 1:
            raise ValueError(f"the key of header {number} has a length of {zigzag(size)}")
        key = data[at : at + (size >> 1)]
        if not (key.isascii() or _is_utf8(key)):
            raise ValueError(f"the key of header {number} is not UTF-8")
        size, at = read_raw32(data, at + (size >> 1))
        if size != 1:
            if size & 1:
                raise ValueError(f"the value of header {number} has a length of {zigzag(size)}")
            at += size >> 1
    return at


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def walk_or_none(data: Data, at: int, count: int, frame: bool = False, /) -> Walked | None:
    """:func:`walk_python` for any bytes; None for a fault, or without records."""
    if count < 1:
        return None
    found = walk_python(bytes(data), at, count, frame)
    return None if isinstance(found, Fault) else found


walk: Callable[..., Walked | None] = walk_or_none
"""``walk(data, at, count, frame=False)``: as :func:`walk_python`, for any bytes; None for a fault."""
COMPILED = False
"""Whether :data:`walk` is compiled code."""

try:
    from kgw_core.records import _walk as _compiled
except ImportError:
    pass
else:
    walk = _compiled.walk
    COMPILED = True


def fault_in(data: Data, at: int, count: int, frame: bool = False) -> Fault:
    """The fault of a batch for which :func:`walk` returned None."""
    found = walk_python(bytes(data), at, count, frame)
    return found if isinstance(found, Fault) else Fault(0, "it is not well formed")


def glances(data: bytes, at: int, count: int) -> Iterator[Glance]:
    """A glance at each record of a batch that :func:`walk` has accepted."""
    for index in range(count):
        length, at = read_raw32(data, at)
        time, place = read_raw64(data, at + 1)
        offset, place = read_raw32(data, place)
        yield Glance(index, length >> 1, zigzag(time), zigzag(offset), read_raw32(data, place)[0] != 1)
        at += length >> 1
