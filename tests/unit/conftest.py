"""Makes ``broker_kit`` importable, as pytest's importlib mode leaves sys.path alone; brokers as fixtures."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from broker_kit import Kit, SlowStore


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    """A broker on the memory store."""
    from broker_kit import a_kit

    made = await a_kit()
    yield made
    await made.close()


@pytest.fixture
def store() -> SlowStore:
    """The store of ``slow``."""
    from broker_kit import SlowStore

    return SlowStore()


@pytest.fixture
async def slow(store: SlowStore) -> AsyncIterator[Kit]:
    """A broker on a store that makes everybody wait, with two writers."""
    from broker_kit import a_kit

    made = await a_kit(store)
    made.start_writers()
    yield made
    await made.close()
