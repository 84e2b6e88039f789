"""Makes the helpers beside the tests, and the broker kit, importable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "unit")]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
