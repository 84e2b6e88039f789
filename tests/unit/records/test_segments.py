"""Segments: all batches can be read, also after trims, and they cost little memory."""

from __future__ import annotations

import struct
import tracemalloc
from itertools import combinations_with_replacement, pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgw_core.errors import OffsetOutOfRange
from kgw_core.records.segment import GRANULE
from kgw_core.records.segments import MAX_BLOCK, MIN_BLOCK, Run, Segments

HEADER = struct.Struct(">qiibIhiqqqhii")


class Item(NamedTuple):
    base: int
    span: int
    time: int
    data: bytes
    stable: bool = False
    written: int = -1

    @property
    def last(self) -> int:
        return self.base + self.span - 1


def item(base: int, span: int = 1, time: int = 0, size: int = 100, stable: bool = False) -> Item:
    """A batch whose header is right, and whose body says which one it is."""
    head = HEADER.pack(base, size - 12, 0, 2, 0, 0, span - 1, time, time, -1, -1, -1, span)
    return Item(base, span, time, (head + b"%x;" % base * size)[:size], stable)


def filled(count: int, size: int = 100, start: int = 0) -> Segments:
    log = Segments(start)
    for base in range(start, start + count):
        log.append(*item(base, time=base, size=size))
    return log


def joined(runs: list[Run]) -> bytes:
    return b"".join(run.data for run in runs)


class Model:
    """The same log, as plainly as can be."""

    def __init__(self) -> None:
        self.start = self.end = 0
        self.items: list[Item] = []
        self.exact = True  # nothing was replaced or truncated: what shares a granule is there

    def read(self, offset: int, max_bytes: int) -> list[Item]:
        found: list[Item] = []
        for entry in self.items:
            if entry.last >= offset:
                if found and sum(len(e.data) for e in found) + len(entry.data) > max_bytes:
                    break
                found.append(entry)
                if sum(len(e.data) for e in found) > max_bytes:
                    break
        return found

    def check(self, log: Segments) -> None:
        """Every question about the log has the model's answer."""
        assert (log.start, log.end) == (self.start, self.end)
        assert log.size == sum(len(entry.data) for entry in self.items)
        edges = {self.start, self.end, (self.start + self.end) // 2, max(self.start, self.end - 1)}
        edges.update(offset for e in self.items[::7] for offset in (e.base, e.last) if offset >= self.start)
        for offset in edges:
            for max_bytes in (0, 500, 5_000, 60_000, 1 << 40):
                expected = self.read(offset, max_bytes) if offset < self.end else []
                runs = log.read(offset, max_bytes)
                assert joined(runs) == b"".join(entry.data for entry in expected)
                if expected:
                    assert runs[0].base_offset == expected[0].base
                    following = next((e.base for e in self.items if e.base > expected[-1].base), self.end)
                    assert expected[-1].last < runs[-1].next_offset <= following
                for one, two in pairwise(runs):
                    assert one.next_offset == two.base_offset
        for time in {-1, *(entry.time + more for entry in self.items[::5] for more in (0, 1))}:
            assert log.find_time(time) == next((e.base for e in self.items if e.time >= time), None)
        latest = max((entry.time for entry in self.items), default=-1)
        assert log.find_max_time() == next((e.base for e in self.items if e.time == latest), None)
        for start, end in combinations_with_replacement((None, *sorted(edges)[:: len(edges) // 4 + 1]), 2):
            self.check_max_time(log, start, end)
        for index, entry in enumerate(self.items):
            assert entry.written <= log.write_time(entry.base)
            if self.exact:
                following = self.items[index : index + GRANULE // 61 + 2]
                assert log.write_time(entry.base) <= following[-1].written
            assert log.write_time(entry.last) == log.write_time(entry.base)

    def check_max_time(self, log: Segments, start: int | None, end: int | None) -> None:
        within = [
            e for e in self.items if (start is None or e.last >= start) and (end is None or e.base < end)
        ]
        expected = max(within, key=lambda e: (e.time, -e.base)).base if within else None
        assert log.find_max_time(start, end) == expected


@st.composite
def operations(draw: st.DrawFn) -> list[tuple[str, float, float]]:
    name = st.sampled_from(
        ["small", "small", "small", "mixed", "large", "kept", "trim", "drop", "replace", "truncate"]
    )
    share = st.floats(0, 1)
    return draw(st.lists(st.tuples(name, share, share), min_size=1, max_size=14))


@given(operations())
@settings(max_examples=30, deadline=None)
def test_any_sequence_of_operations_leaves_what_a_plain_list_would_hold(
    steps: list[tuple[str, float, float]],
) -> None:
    """Append of all kinds, trim, drop, replace, truncate: the answers are those of a plain list."""
    log, model, clock = Segments(), Model(), 0
    views: list[tuple[list[Run], bytes]] = []
    for step, one, two in steps:
        at = model.start + round(one * (model.end - model.start))
        if step in ("small", "mixed", "large", "kept"):
            sizes = {
                "small": [70 + int(one * 200)] * (1 + int(two * 60)),
                "mixed": [61 + int(one * 9_000), 100, 100, 5_000 + int(two * 40_000), 100],
                "large": [30_000 + int(one * 300_000)] * 2,
                "kept": [70_000, 200],
            }[step]
            for index, size in enumerate(sizes):
                time = -1 if index % 11 == 10 else int(1_000 * one) + (index * 7 % 5)
                gap = 3 if step == "mixed" and index == 2 else 0
                new = item(model.end + gap, 1 + index % 3, time, size, step == "kept")
                clock += 1
                new = new._replace(written=clock)
                log.append(*new)
                model.items.append(new)
                model.end = new.last + 1
        elif step == "trim":
            log.trim(at)
            model.start = at
            model.items = [entry for entry in model.items if entry.last >= at]
        elif step == "drop":
            limit = int(one * log.size)
            dropped = log.drop_oldest(limit)
            assert log.size <= limit
            gone = 0
            while gone < dropped:
                gone += len(model.items.pop(0).data)
            assert gone == dropped
            if dropped:
                model.start = model.items[0].base if model.items else model.end
        elif step == "truncate" and model.items:
            cut = model.items[int(one * (len(model.items) - 1))].base
            if cut >= model.start:
                log.truncate(cut)
                model.items = [entry for entry in model.items if entry.base < cut]
                model.end = cut
                model.exact = False
        elif step == "replace" and model.items:
            first = int(one * (len(model.items) - 1))
            last = first + int(two * (len(model.items) - 1 - first))
            old = model.items[first : last + 1]
            new_items = [item(e.base, e.span, e.time, 61 + len(e.data) // 2) for e in old[::2]]
            log.replace(old[0].base, old[-1].last, new_items)
            model.items[first : last + 1] = [
                new._replace(written=was.written) for new, was in zip(new_items, old[::2], strict=True)
            ]
            model.exact = False
        model.check(log)
        views = [*views[-3:], (found := log.read(model.start, 200_000), joined(found))]
        for runs, data in views:
            assert joined(runs) == data, "a reader's view has changed"


def test_an_empty_log_reads_nothing_and_holds_no_block() -> None:
    """At its end there is nothing; beside it, an error; a log of no batches allocates no block."""
    log = Segments(5)
    assert log.read(5, 1000) == []
    assert log.find_time(0) is None and log.find_max_time() is None
    for offset in (4, 6):
        with pytest.raises(OffsetOutOfRange):
            log.read(offset, 1000)
    assert log._segments == []


def test_many_small_batches_leave_as_one_slice() -> None:
    """A read inside one block is one run."""
    log = filled(20_000)
    assert len(log.read(log.end - 1_000, 1 << 20)) == 1


def test_views_are_read_only() -> None:
    """Nobody can change stored batches through the result of a read."""
    log = filled(3)
    log.append(*item(3, size=70_000, stable=True))
    log.append(4, 1, 0, bytearray(item(4, size=30_000).data))
    assert all(run.data.readonly for run in log.read(0, 1 << 20) if isinstance(run.data, memoryview))
    assert len(log.read(0, 1 << 20)) == 3


def test_a_large_stable_batch_keeps_its_frame_and_others_are_copied() -> None:
    """Half of a frame of 64 KiB is enough; less of it, a smaller frame or an unstable one is copied."""
    for size, frame_size, stable, kept in [
        (40_000, 70_000, True, True),
        (40_000, 70_000, False, False),
        (40_000, 90_000, True, False),
        (33_000, 60_000, True, False),
        (1_000, 70_000, True, False),
    ]:
        frame = bytearray(frame_size)
        frame[10 : 10 + size] = item(0, size=size).data
        log = Segments()
        log.append(0, 1, 0, memoryview(frame)[10 : 10 + size], stable)
        [run] = log.read(0, 1)
        assert (memoryview(run.data).obj is frame) == kept
        assert run.data == item(0, size=size).data


def test_small_batches_go_on_in_the_same_block_after_a_large_one() -> None:
    """A large batch in between does not waste the rest of the block."""
    log = filled(3)
    log.append(*item(3, size=100_000))
    log.append(*item(4))
    first, _, third = log.read(0, 1 << 20)
    assert memoryview(first.data).obj is memoryview(third.data).obj


def test_what_is_appended_after_a_truncate_does_not_overwrite_what_a_reader_holds() -> None:
    """Bytes once handed out are never written again."""
    log = filled(10)
    runs = log.read(0, 1 << 20)
    before = joined(runs)
    log.truncate(5)
    log.append(*item(5, time=99, size=300))
    assert joined(runs) == before
    assert log.read(5, 1)[0].data == item(5, time=99, size=300).data


def test_a_batch_below_the_end_is_refused() -> None:
    """Offsets only grow."""
    log = filled(3)
    with pytest.raises(ValueError, match="ends at 3"):
        log.append(*item(2))
    assert log.end == 3


@pytest.mark.parametrize(("size", "limit"), [(100, 1.2), (170, 1.2), (4_157, 1.1), (102_461, 1.1)])
def test_a_retained_byte_costs_little_more_than_a_byte(size: int, limit: float) -> None:
    """About 4 MB of batches: blocks and indexes together stay within the limit."""
    items = [item(base, size=size) for base in range(4_000_000 // size)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        log = Segments()
        for entry in items:
            log.append(*entry)
        cost = (tracemalloc.get_traced_memory()[0] - before) / log.size
    finally:
        tracemalloc.stop()
    assert cost < limit


def test_the_unused_part_of_the_last_block_stays_a_part_of_the_log() -> None:
    """At any size: never more than half of what is held, beyond the first block; none above a MiB."""
    log = Segments()
    for base in range(30_000):
        log.append(*item(base, size=170))
        if base % 97 == 0:
            held = sum(
                {
                    id(segment.view.obj): len(memoryview(segment.view.obj)) for segment in log._segments
                }.values()
            )
            assert held <= max(MIN_BLOCK, 1.6 * log.size)
    assert max(len(segment.view) for segment in log._segments) <= MAX_BLOCK


def test_trimming_to_the_end_lets_go_of_every_block() -> None:
    """The log is empty, goes on at its end, and starts small again."""
    log = filled(20_000)
    log.trim(log.end)
    assert (log.start, log.end, log.size, log._segments) == (20_000, 20_000, 0, [])
    log.append(*item(20_000))
    assert len(log._segments[0].view) == MIN_BLOCK
    with pytest.raises(OffsetOutOfRange):
        log.trim(20_002)


def test_a_cache_drops_its_oldest_segments() -> None:
    """The rest is at most the bound, has the same end, and a correct start."""
    log = filled(20_000)
    size = log.size
    dropped = log.drop_oldest(1 << 20)
    assert log.size == size - dropped <= 1 << 20
    assert log.end == 20_000 and log.read(log.start, 1)[0].base_offset == log.start
    with pytest.raises(OffsetOutOfRange):
        log.read(log.start - 1, 1)


def test_the_latest_time_is_found_among_what_a_trim_left() -> None:
    """Timestamps go down: after each trim the first batch that is left has the largest."""
    log = Segments()
    for base in range(60):
        log.append(*item(base, time=1_000 - base))
    for before in range(1, 60):
        log.trim(before)
        assert log.find_max_time() == before
        assert log.find_time(1_000 - before) == before
        assert log.find_time(1_001 - before) is None
