"""Makes the helpers beside the tests, the broker kit and the raw client importable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "unit"), str(HERE.parent / "integration")]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
