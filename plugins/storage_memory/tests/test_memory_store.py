"""The memory store keeps every promise of the public suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import entry_points

import pytest
from kgw_storage_memory.store import MemoryStore

from kgw_core.records.segments import Segments
from kgw_core.spi.storage import Buffer
from kgw_core.testing import LogStoreSuite


class TestMemoryStore(LogStoreSuite):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    @pytest.fixture
    def failing(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
        """No memory for the second batch of an append."""

        @contextmanager
        def fail() -> Iterator[None]:
            appended: list[int] = []
            plain = Segments.append

            def append(log: Segments, base: int, span: int, time: int, data: Buffer, stable: bool) -> None:
                if appended:
                    raise MemoryError
                appended.append(base)
                plain(log, base, span, time, data, stable)

            with monkeypatch.context() as patch:
                patch.setattr(Segments, "append", append)
                yield

        return fail


def test_the_entry_point_registers_the_store() -> None:
    """`storage.memory` names a module whose hook returns the class."""
    [entry] = entry_points(group="kgw", name="storage.memory")
    assert entry.load().kgw_register_storage() == [MemoryStore]
    assert MemoryStore.name == "memory"
