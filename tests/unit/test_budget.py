"""The budget of one Produce and one Fetch, in counts that are the same in every run, not in time.

Counted in the code of the core and of the memory store, from the bytes in the connection's buffer
to the bytes handed to the transport:

- ``calls``: Python functions entered. ``c_calls``: functions of C called. ``opcodes``: bytecode instructions.
- ``writes``: calls of the transport, which are system calls with a real one. ``turns``: what was left
  to the event loop to do later (a task, a callback, a timer).
- ``peak``: most bytes allocated at once beyond what was there before (tracemalloc). ``kept``: blocks of
  memory that are still there afterwards, a request.

A bound is 15 % above what was measured when it was set: decoding a request twice is over it. Who makes a
request cheaper lowers it; ``KGW_SHOW_BUDGET=1 pytest -s tests/unit/test_budget.py`` prints the figures.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import pytest
from broker_kit import Kit, Peer, a_server, framed
from kgw_storage_memory import store as memory_store

import kgw_core
from kgw_core.records import build_batch, walk
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not walk.COMPILED, reason="the walk over records is not compiled: Python takes more"),
]

COUNTED = (os.path.dirname(kgw_core.__file__), os.path.dirname(memory_store.__file__))
PRODUCE, FETCH = 11, 12
SMALL, LARGE = 100, 500_000
LARGE_PEAK = 48 << 10
"""Bytes beside a large batch that a request may take: far less than a second copy of it would."""

BOUNDS: dict[tuple[int, int], dict[str, dict[str, int]]] = {
    (3, 11): {
        "produce": {"calls": 29, "c_calls": 58, "opcodes": 1738, "writes": 1, "turns": 0},
        "five produces": {"calls": 135, "c_calls": 288, "opcodes": 8369, "writes": 1, "turns": 0},
        "fetch": {"calls": 46, "c_calls": 66, "opcodes": 2028, "writes": 1, "turns": 0},
        "long poll": {"calls": 128, "c_calls": 149, "opcodes": 5062, "writes": 1, "turns": 1},
        "large produce": {"calls": 40, "c_calls": 64, "opcodes": 1900, "writes": 1, "turns": 0},
        "large fetch": {"calls": 46, "c_calls": 95, "opcodes": 2236, "writes": 1, "turns": 0},
        "memory of a produce": {"peak": 3906},
        "memory of a fetch": {"peak": 5108},
    },
    (3, 13): {
        "produce": {"calls": 29, "c_calls": 58, "opcodes": 1572, "writes": 1, "turns": 0},
        "five produces": {"calls": 135, "c_calls": 288, "opcodes": 7577, "writes": 1, "turns": 0},
        "fetch": {"calls": 43, "c_calls": 66, "opcodes": 1827, "writes": 1, "turns": 0},
        "long poll": {"calls": 125, "c_calls": 149, "opcodes": 4646, "writes": 1, "turns": 1},
        "large produce": {"calls": 40, "c_calls": 64, "opcodes": 1720, "writes": 1, "turns": 0},
        "large fetch": {"calls": 43, "c_calls": 95, "opcodes": 2019, "writes": 1, "turns": 0},
        "memory of a produce": {"peak": 3906},
        "memory of a fetch": {"peak": 5048},
    },
}
"""By version of Python: each compiles the same source to other instructions."""


def bound(case: str) -> dict[str, int]:
    """The bounds on this Python; on one that has none, those of the newest that has."""
    return BOUNDS.get(sys.version_info[:2], BOUNDS[max(BOUNDS)])[case]


# -- counting


class Counts(dict[str, int]):
    """The counts of the code inside :func:`counting`."""


def counted(code: CodeType) -> bool:
    """Whether a piece of code belongs to what has a budget; the codecs that are made at run time do."""
    return code.co_filename.startswith(COUNTED)


@contextmanager
def instructions(counts: Counts) -> Iterator[None]:
    """Count bytecode instructions: with sys.monitoring, or, on 3.11, with a trace function."""
    if sys.version_info < (3, 12):

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            if event == "opcode":
                counts["opcodes"] += 1
            elif not counted(frame.f_code):
                return None
            else:
                frame.f_trace_lines = False
                frame.f_trace_opcodes = True
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(before)
    else:
        monitoring = sys.monitoring
        tool = next(number for number in range(6) if monitoring.get_tool(number) is None)

        def instruction(code: CodeType, _: int) -> Any:
            if not counted(code):
                return monitoring.DISABLE
            counts["opcodes"] += 1
            return None

        monitoring.use_tool_id(tool, "budget")
        monitoring.register_callback(tool, monitoring.events.INSTRUCTION, instruction)
        monitoring.restart_events()
        monitoring.set_events(tool, monitoring.events.INSTRUCTION)
        try:
            yield
        finally:
            monitoring.set_events(tool, 0)
            monitoring.register_callback(tool, monitoring.events.INSTRUCTION, None)
            monitoring.free_tool_id(tool)


@contextmanager
def counting(peer: Peer) -> Iterator[Counts]:
    """Count the costs of the block, up to its end."""
    counts = Counts(calls=0, c_calls=0, opcodes=0, writes=0, turns=0)

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and counted(frame.f_code):
            counts["calls"] += 1
        elif event == "c_call" and counted(frame.f_code):
            counts["c_calls"] += 1

    def later(schedule: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any, **options: Any) -> Any:
            counts["turns"] += 1
            return schedule(*args, **options)

        return count

    loop = asyncio.get_running_loop()
    names = ("call_soon", "call_at", "call_later", "create_task")
    profiler, writes = sys.getprofile(), peer.transport.writes
    for name in names:
        setattr(loop, name, later(getattr(loop, name)))
    try:
        with instructions(counts):
            sys.setprofile(profile)
            yield counts
    finally:
        sys.setprofile(profiler)
        for name in names:
            delattr(loop, name)
        counts["writes"] = peer.transport.writes - writes


@contextmanager
def peak() -> Iterator[Counts]:
    """Most bytes allocated at once in the block, beyond those before it."""
    counts = Counts(peak=0)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    try:
        yield counts
    finally:
        counts["peak"] = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        gc.enable()


def check(case: str, counts: Counts) -> None:
    if os.environ.get("KGW_SHOW_BUDGET"):
        print(f"\n{sys.version_info[:2]} {case}: {dict(counts)}")
        return
    limits = bound(case)
    over = {name: (value, limits[name]) for name, value in counts.items() if value > limits[name]}
    assert not over, f"{case} costs more than its budget (is, bound): {over}"


# -- the requests


class Feed:
    """Bytes arriving at a connection, copied where the kernel would put them."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.peer = Peer(a_server(kit.dispatcher))
        self.buffer_of = self.peer.connection.get_buffer
        self.updated = self.peer.connection.buffer_updated

    def frame(self, request: Any, version: int) -> bytes:
        return framed(self.kit.frame(request, version))

    def put(self, data: bytes) -> list[int]:
        """Place what fits now; return how much came with each read but the last, which is yet to be told."""
        view = memoryview(data)
        while True:
            buffer = self.buffer_of(-1)
            size = min(len(buffer), len(view))
            buffer[:size] = view[:size]
            view = view[size:]
            if not view:
                return [size]
            self.updated(size)

    def send(self, data: bytes) -> None:
        (size,) = self.put(data)
        self.updated(size)


def produce(size: int, count: int = 1) -> ProduceRequest:
    batch = bytes(build_batch([(None, b"x" * (size // count), 1_700_000_000_000)] * count))
    return ProduceRequest(
        None, -1, 1000, [TopicProduceData("t", partition_data=[PartitionProduceData(0, batch)])]
    )


def fetch(offset: int, wait_ms: int = 0, max_bytes: int = 1 << 20) -> FetchRequest:
    part = FetchPartition(0, fetch_offset=offset, partition_max_bytes=max_bytes)
    return FetchRequest(
        max_wait_ms=wait_ms, min_bytes=1, max_bytes=max_bytes, topics=[FetchTopic("t", partitions=[part])]
    )


@pytest.fixture
async def feed(kit: Kit) -> Feed:
    """A connection to a broker whose topic "t" has a log that is open, everything used once before."""
    await kit.log("t")
    made = Feed(kit)
    for request, version in ((produce(SMALL), PRODUCE), (fetch(0), FETCH), (produce(SMALL), PRODUCE)):
        made.send(made.frame(request, version))
    assert len(made.peer.answers()) == 3
    return made


# -- the budgets


class TestSteps:
    """Instructions, calls, writes and turns of the loop."""

    async def test_produce(self, feed: Feed) -> None:
        (size,) = feed.put(feed.frame(produce(SMALL), PRODUCE))
        with counting(feed.peer) as counts:
            feed.updated(size)
        assert len(feed.peer.answers()) == 4
        check("produce", counts)

    async def test_five_produces_that_came_together_leave_together(self, feed: Feed) -> None:
        (size,) = feed.put(b"".join(feed.frame(produce(SMALL), PRODUCE) for _ in range(5)))
        with counting(feed.peer) as counts:
            feed.updated(size)
        assert len(feed.peer.answers()) == 8
        check("five produces", counts)

    async def test_fetch(self, feed: Feed) -> None:
        (size,) = feed.put(feed.frame(fetch(0), FETCH))
        with counting(feed.peer) as counts:
            feed.updated(size)
        assert len(feed.peer.answers()) == 4
        check("fetch", counts)

    async def test_a_fetch_that_waits_and_the_produce_that_wakes_it(self, feed: Feed) -> None:
        producer = Feed(feed.kit)
        (size,) = feed.put(feed.frame(fetch(2, wait_ms=500), FETCH))
        (produced,) = producer.put(producer.frame(produce(SMALL), PRODUCE))
        with counting(feed.peer) as counts:
            feed.updated(size)
            producer.updated(produced)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert len(feed.peer.answers()) == 4
        counts["turns"] -= 2  # the two above
        check("long poll", counts)

    async def test_the_size_of_a_batch_takes_no_more_steps(self, feed: Feed) -> None:
        """Python looks at no record, and the whole of a large batch leaves as it is."""
        feed.send(feed.frame(produce(LARGE), PRODUCE))  # the decoder for large ones is made once
        (size,) = feed.put(feed.frame(produce(LARGE, 500), PRODUCE))
        with counting(feed.peer) as counts:
            feed.updated(size)
        check("large produce", counts)
        (size,) = feed.put(feed.frame(fetch(3), FETCH))
        with counting(feed.peer) as counts:
            feed.updated(size)
        check("large fetch", counts)
        assert len(feed.peer.answers()[-1][1]) > LARGE


class TestMemory:
    """Allocations."""

    async def test_of_a_produce(self, feed: Feed) -> None:
        (size,) = feed.put(feed.frame(produce(SMALL), PRODUCE))
        with peak() as counts:
            feed.updated(size)
        check("memory of a produce", counts)

    async def test_of_a_fetch(self, feed: Feed) -> None:
        (size,) = feed.put(feed.frame(fetch(0), FETCH))
        with peak() as counts:
            feed.updated(size)
        check("memory of a fetch", counts)

    async def test_a_large_batch_is_not_copied(self, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
        taken: list[int] = []
        monkeypatch.setattr(feed.peer.transport, "write", lambda part: taken.append(len(part)))
        monkeypatch.setattr(feed.peer.transport, "writelines", lambda parts: taken.extend(map(len, parts)))
        feed.send(feed.frame(produce(LARGE), PRODUCE))  # the decoder for large ones is made once
        (size,) = feed.put(feed.frame(produce(LARGE), PRODUCE))
        with peak() as counts:
            feed.updated(size)
        assert counts["peak"] < LARGE_PEAK
        (size,) = feed.put(feed.frame(fetch(2), FETCH))
        with peak() as counts:
            feed.updated(size)
        assert counts["peak"] < LARGE_PEAK
        assert sum(taken) > LARGE

    async def test_a_small_batch_leaves_no_object_behind(self, feed: Feed) -> None:
        frame = feed.frame(produce(SMALL), PRODUCE)
        fetching = feed.frame(fetch(0, max_bytes=1), FETCH)
        rounds = 1000
        for _ in range(50):
            feed.send(frame)
            feed.send(fetching)
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(rounds):
            feed.send(frame)
            feed.send(fetching)
        gc.collect()
        assert (
            sys.getallocatedblocks() - before < rounds // 4
        )  # blocks of memory for the batches, and their index
