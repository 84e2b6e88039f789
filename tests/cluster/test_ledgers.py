"""The ledgers keep their contract: the core's own, and one of another kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kgw_storage_memory.store import MemoryStore
from lease_ledger import LeaseLedger

from kgw_core.log.ledger import CountingLedger
from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.storage import LogStore
from kgw_core.testing import OffsetLedgerSuite


class TestCountingLedger(OffsetLedgerSuite):
    @pytest.fixture
    def make_ledger(self) -> Callable[[], OffsetLedger]:
        return CountingLedger

    @pytest.fixture
    def store(self) -> LogStore:
        return MemoryStore()


class TestLeaseLedger(OffsetLedgerSuite):
    @pytest.fixture
    def make_ledger(self, tmp_path: Path) -> Callable[[], OffsetLedger]:
        return lambda: LeaseLedger(LeaseLedger.Config(tmp_path / "leases"))

    @pytest.fixture
    def store(self) -> LogStore:
        return MemoryStore()
