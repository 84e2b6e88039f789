"""The suite's durable part, tried on a tiny store that keeps files."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import file_store
import pytest

from kgw_core.testing import LogStoreSuite


class TestFileStore(LogStoreSuite):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> partial[file_store.FileStore]:
        return partial(file_store.FileStore, tmp_path / "data")

    @pytest.fixture
    def failing(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
        """The disk is full."""

        @contextmanager
        def fail() -> Iterator[None]:
            def full(log: object) -> None:
                raise OSError(errno.ENOSPC, "no space left")

            with monkeypatch.context() as patch:
                patch.setattr(file_store.FileLog, "sync", full)
                yield

        return fail
