"""The walk over all records of a batch: whether each is well formed, and their times, keys and offsets.

Nothing is built of a record. :func:`walk` is compiled (``_walk.c``) where a compiler was at hand when the
package was built; else, and wherever something is wrong, it is :func:`walk_python`, which says what.
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
"""Flags; the lowest and the highest timestamp delta of a record, in ms."""


class Fault(NamedTuple):
    """The first record that is not well formed: its place in the batch, from 0, and what is wrong."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"record {self.number}: {self.reason}"


class Glance(NamedTuple):
    """What is seen of a record in passing."""

    number: int
    size: int
    time_delta: int
    offset_delta: int
    has_key: bool


def walk_python(data: bytes, at: int, count: int, frame: bool = False) -> Walked | Fault:
    """Look at ``count`` records, at least one, which have to fill ``data`` from ``at`` on.

    Well formed is what every client can read: lengths and counts that fit each other, varints that fit the
    32 or 64 bits of their field, no negative length but -1, which is null, for a key, a value and the value
    of a header. Nobody uses a record's attributes, but kafka-python reads them as a varint, so they have to
    be below 0x80; Sarama counts the bytes that a length needs, so it has to have no more. The key of a
    header has to be UTF-8: clients in Python stop for ever at one that is not.

    :param frame: look at the records' lengths and their number only; the figures are 0 then.
    """
    if frame:
        return _frame(data, at, count)
    flags = index = 0
    lowest, highest, last = 1 << 63, -1 << 63, -1
    width, again, patience = 0, 0, 16
    numbers = iter(range(count))
    try:
        # This loop runs once a record: varints of one and two bytes are read in line. A length inside may
        # lead it past the end of the record, which it finds out when it has read the fields, or past the
        # end of the data, which raises IndexError.
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
            elif index >= again:  # two of one width: more may follow
                found, low, high = alike(data, begin, at, index, count)
                if found:
                    at += found * width
                    lowest, highest = min(lowest, low), max(highest, high)
                    index += found
                    next(islice(numbers, found - 1, found))
                    patience = 16
                else:
                    again = index + patience
                    patience = min(2 * patience, 1024)
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
    """What is wrong with the record that was the last, and ends at ``at``."""
    if at > len(data):
        return Fault(index, "its length runs over the batch")
    if at < len(data):
        return Fault(index, f"{len(data) - at} bytes follow it, though the batch says that it is the last")
    return None


def _past_headers(data: bytes, at: int, end: int) -> int:
    """:raises ValueError: not well formed. :raises IndexError: they end after the data."""
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
    """:func:`walk_python`, of any bytes; None for a fault, and for no records."""
    if count < 1:
        return None
    found = walk_python(bytes(data), at, count, frame)
    return None if isinstance(found, Fault) else found


walk: Callable[..., Walked | None] = walk_or_none
"""``walk(data, at, count, frame=False)``: as :func:`walk_python`, of any bytes; None for a fault."""
COMPILED = False
"""Whether it is the compiled form."""

try:
    from kgw_core.records import _walk as _compiled
except ImportError:
    pass
else:
    walk = _compiled.walk
    COMPILED = True


def fault_in(data: Data, at: int, count: int, frame: bool = False) -> Fault:
    """What is wrong where :func:`walk` gave None."""
    found = walk_python(bytes(data), at, count, frame)
    return found if isinstance(found, Fault) else Fault(0, "it is not well formed")


def glances(data: bytes, at: int, count: int) -> Iterator[Glance]:
    """One for each record, where :func:`walk` has found all of them well formed."""
    for index in range(count):
        length, at = read_raw32(data, at)
        time, place = read_raw64(data, at + 1)
        offset, place = read_raw32(data, place)
        yield Glance(index, length >> 1, zigzag(time), zigzag(offset), read_raw32(data, place)[0] != 1)
        at += length >> 1
