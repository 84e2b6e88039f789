"""The suite says whether the store keeps its promises."""

from __future__ import annotations

import pytest
from kgw_storage_dict import DictStore

from kgw_core.testing import LogStoreSuite


class TestDictStore(LogStoreSuite):
    @pytest.fixture
    def store(self) -> DictStore:
        return DictStore(DictStore.Config(max_batches=5_000))
