"""The base of the broken stores: a registry, and a correct store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from file_store import FileStore
from kgw_storage_memory.store import MemoryStore

from kgw_core.records import iter_batches
from kgw_core.records.segments import Segments
from kgw_core.spi.storage import (
    LogStore,
    Run,
    Topic,
    TopicPartition,
)
from kgw_core.testing import LogStoreSuite

CAUGHT: dict[str, list[str]] = {}
"""Names of the tests that catch each class of store."""
SUITES: dict[str, type[LogStoreSuite]] = {}
"""The suite for each, as a class that pytest collects."""


def caught_by(*tests: str) -> Callable[[type[LogStore]], type[LogStore]]:
    """Make a test class for a broken store."""

    def add(broken: type[LogStore]) -> type[LogStore]:
        def make(self: object, tmp_path: Path) -> object:
            return partial(broken, tmp_path / "data") if issubclass(broken, FileStore) else partial(broken)

        def failing(self: object, store: Any) -> object:
            @contextmanager
            def fail() -> Iterator[None]:
                store.full = True
                yield
                store.full = False

            return fail

        wanted = [f"test_{test}" for test in tests]
        others = [name for name in dir(LogStoreSuite) if name.startswith("test_") and name not in wanted]
        members: dict[str, Any] = dict.fromkeys(others)  # not collected
        members |= {"reopen": pytest.fixture(make), "failing": pytest.fixture(failing)}
        name = f"Test{broken.__name__}"
        SUITES[name] = type(name, (LogStoreSuite,), members)
        CAUGHT[broken.__name__] = wanted
        return broken

    return add


def pieces(runs: Sequence[Run]) -> list[Run]:
    """A run for each batch."""
    return [
        Run(batch.base_offset, batch.next_offset, bytes(batch.data))
        for run in runs
        for batch in iter_batches(run.data)
    ]


class Broken(MemoryStore):
    """Right as it is; keeps its own way of reading in one place."""

    full = False

    def logs(self) -> dict[TopicPartition, Segments]:
        return self._logs

    def _make_logs(self, topic: Topic, first: int) -> None:
        """Empty logs for the partitions from ``first`` on."""
        for partition in range(first, topic.partitions):
            self._logs[TopicPartition(topic.name, topic.id, partition)] = Segments()

    def everything(self, tp: TopicPartition) -> list[Run]:
        log = self._log(tp)
        return pieces(log.read(log.start, 1 << 40))
