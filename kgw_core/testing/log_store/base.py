"""What the parts of the suite share: fixtures, selection by capabilities, and a bench to work at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from kgw_core.spi.storage import Batch, Bounds, LogStore, Run, Topic, TopicPartition
from kgw_core.testing.batches import make_batch, stored_batches, stored_records

Test = TypeVar("Test", bound=Callable[..., Any])
Reopen = partial[LogStore]
Failing = Callable[[], AbstractContextManager[object]]


def only(*conditions: str) -> Callable[[Test], Test]:
    """The test is for stores whose capabilities have all of ``conditions``: "durable", "not durable"."""

    def mark(test: Test) -> Test:
        test.kgw_only = conditions  # type: ignore[attr-defined]
        return test

    return mark


def overriding(method: str) -> Callable[[Test], Test]:
    """The test is for stores with a ``method`` of their own."""

    def mark(test: Test) -> Test:
        test.kgw_overrides = method  # type: ignore[attr-defined]
        return test

    return mark


class Bench:
    """An open store, with short forms of the calls that tests make."""

    def __init__(self, store: LogStore, reopen: Reopen | None) -> None:
        self.store = store
        self.capabilities = store.capabilities()
        self._reopen = reopen
        self._ends: dict[TopicPartition, int] = {}

    async def topic(self, partitions: int = 1, name: str = "orders", **configs: str) -> list[TopicPartition]:
        """Create a topic; its partitions."""
        topic = Topic(name, uuid4(), partitions, configs)
        await self.store.create_topic(topic)
        return partitions_of(topic)

    async def log(self) -> TopicPartition:
        """The only partition of a new topic."""
        return (await self.topic())[0]

    def make(self, base_offset: int, records: int = 1, **options: Any) -> Batch:
        """A batch at ``base_offset``; for a store that numbers records at -1, with 0 in its bytes."""
        batch = make_batch(base_offset, records, **options)
        if self.capabilities.numbers_records:
            batch = batch._replace(base_offset=-1, data=bytes(8) + bytes(batch.data[8:]))
        return batch

    async def fill(self, tp: TopicPartition, spans: Sequence[int], **options: Any) -> list[Batch]:
        """Append a batch for each of ``spans``, each in its own append; return them with offsets."""
        options.setdefault("tag", str(tp))
        written = []
        for span in spans:
            end = self._ends.get(tp, 0)
            bases = await self.store.append(tp, [self.make(end, span, **options)])
            assert list(bases) == [end], f"the append at {end} returned {bases}"
            written.append(make_batch(end, span, **options))
            self._ends[tp] = end + span
        return written

    async def read_all(self, tp: TopicPartition, max_bytes: int = 1 << 20) -> list[Run]:
        """The whole log from its start, read after read."""
        bounds = await self.store.bounds(tp)
        return await self.read_on(tp, bounds.start, bounds.end, max_bytes)

    async def read_on(self, tp: TopicPartition, offset: int, end: int, max_bytes: int = 1 << 20) -> list[Run]:
        """Runs from ``offset`` to ``end``, each read continuing at the end of the one before."""
        runs: list[Run] = []
        while offset < end:
            more = await self.store.read(tp, offset, max_bytes)
            assert more, f"nothing at offset {offset}, but the log ends at {end}"
            check_runs(more)
            assert more[-1].next_offset > offset, f"the read at {offset} goes on at {more[-1].next_offset}"
            runs += more
            offset = more[-1].next_offset
        return runs

    async def expect(self, tp: TopicPartition, written: Sequence[Batch], *, start: int | None = None) -> None:
        """The log holds ``written`` and nothing else; from ``start`` on, if it was trimmed to that."""
        runs = await self.read_all(tp)
        if self.capabilities.preserves_batches:
            assert stored_batches(runs) == [(b.base_offset, last(b), bytes(b.data)) for b in written]
            return
        stored_batches(runs)
        records = stored_records(Run(b.base_offset, last(b) + 1, b.data) for b in written)
        first = start if start is not None else (await self.store.bounds(tp)).start
        assert [r for r in stored_records(runs) if r[0] >= first] == [r for r in records if r[0] >= first]

    async def ends(self, tp: TopicPartition) -> tuple[int, int]:
        """Start and end of the log."""
        bounds = await self.store.bounds(tp)
        assert isinstance(bounds, Bounds)
        return bounds.start, bounds.end

    async def reopen(self) -> None:
        """Close the store and open another one on the same data."""
        if self._reopen is None:
            pytest.fail(f"{self.store.name} says it is durable: the suite needs its fixture `reopen`")
        await self.store.close()
        self.store = self._reopen()
        await self.store.open()


def partitions_of(topic: Topic) -> list[TopicPartition]:
    """All partitions of ``topic``."""
    return [TopicPartition(topic.name, topic.id, partition) for partition in range(topic.partitions)]


def last(batch: Batch) -> int:
    """Last offset of ``batch``."""
    return batch.base_offset + batch.span - 1


def sizes(batches: Sequence[Batch]) -> int:
    """Bytes of all ``batches``."""
    return sum(len(batch.data) for batch in batches)


def check_runs(runs: Sequence[Run]) -> None:
    """Every run is whole batches, names its own start and end, and begins at the end of the one before."""
    following = None
    for run in runs:
        batches = stored_batches([run])
        assert batches, f"the run at {run.base_offset} is empty"
        assert run.base_offset == batches[0][0], "base_offset is the first batch's"
        assert run.next_offset > batches[-1][1], "next_offset lies after the last batch"
        assert following is None or run.base_offset >= following, "runs are in order"
        for before, after in zip(batches, batches[1:], strict=False):  # noqa: RUF007
            assert before[1] < after[0], "batches are in order"
        following = run.next_offset


class SuiteBase:
    """Fixtures of the suite. Tests are coroutines, run by anyio's pytest plugin."""

    pytestmark = pytest.mark.anyio

    late_seconds = 0.2
    """How long the suite watches that nothing lands after a call has raised: more than the store's own time
    for its engine to answer."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def store(self, reopen: Reopen | None) -> LogStore:
        """The store under test, not open yet."""
        if reopen is None:
            pytest.fail("the suite needs a fixture `store` that returns the store under test, not open yet")
        return reopen()

    @pytest.fixture
    def reopen(self) -> Reopen | None:
        """Makes a store on the same data; needed if the store is durable."""
        return None

    @pytest.fixture
    def failing(self) -> Failing | None:
        """Makes appends fail as long as the context manager that it returns is entered."""
        return None

    @pytest.fixture(autouse=True)
    def selected_by_capabilities(self, request: pytest.FixtureRequest, store: LogStore) -> None:
        """Skip a test of a capability that the store does not declare."""
        own = getattr(request.function, "kgw_overrides", None)
        if own is not None and getattr(type(store), own) is getattr(LogStore, own):
            pytest.skip(f"for stores with a `{own}` of their own")
        capabilities = store.capabilities()
        for condition in getattr(request.function, "kgw_only", ()):
            name = condition.removeprefix("not ")
            if bool(getattr(capabilities, name)) != (name == condition):
                pytest.skip(
                    f"for stores with `{condition}`; {store.name} declares {name}={name != condition}"
                )

    @pytest.fixture
    async def bench(self, store: LogStore, reopen: Reopen | None) -> AsyncIterator[Bench]:
        """The store, opened; closed after the test."""
        await store.open()
        bench = Bench(store, reopen)
        yield bench
        await bench.store.close()
