"""The garbage collector visits long-lived objects once, and never very many."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator

import anyio.lowlevel
import pytest

from kgw_core.cli import garbage_collection
from kgw_core.cli.garbage_collection import short_collections

pytestmark = pytest.mark.anyio


@pytest.fixture
async def kept() -> AsyncIterator[list[list[object]]]:
    """Objects may be put here while looks are kept short."""
    before = gc.get_threshold(), list(gc.callbacks)
    objects: list[list[object]] = []
    with short_collections():
        yield objects
    gc.unfreeze()
    assert (gc.get_threshold(), gc.callbacks) == before


class FullLooks(list[int]):
    """How many objects each full look had to do with, from here on."""

    def __enter__(self) -> FullLooks:
        gc.callbacks.append(self._looked)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._looked)

    def _looked(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            self.append(len(gc.get_objects()))


async def test_full_looks_come_between_two_callbacks_after_so_many_objects(kept: list[list[object]]) -> None:
    """However much is there, and never by CPython's rules, after a quarter more."""
    with FullLooks() as looks:
        for _ in range(1000):
            kept += [[each] for each in range(1000)]
            count = len(looks)
            await anyio.lowlevel.checkpoint()
            assert len(looks) <= count + 1
    each = (
        garbage_collection.MIDDLE_COLLECTIONS
        * (garbage_collection.THRESHOLD[1] + 1)
        * garbage_collection.THRESHOLD[0]
    )
    assert 1_000_000 // (2 * each) <= len(looks) <= 1_000_000 // each
    assert max(looks) < 2 * each
    assert gc.get_freeze_count() > 800_000


async def test_what_is_frozen_is_freed_as_ever(kept: list[list[object]]) -> None:
    kept += [[each] for each in range(200_000)]
    await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint()
    frozen = gc.get_freeze_count()
    assert frozen > 190_000
    kept.clear()
    assert gc.get_freeze_count() < frozen - 190_000


async def test_what_is_garbage_by_then_is_found(kept: list[list[object]]) -> None:
    for _ in range(200_000):
        cycle: list[object] = []
        cycle.append(cycle)
    before = gc.get_freeze_count()
    kept += [[each] for each in range(garbage_collection.MIDDLE_COLLECTIONS * 40_000)]
    await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint()
    assert gc.get_freeze_count() - before < garbage_collection.MIDDLE_COLLECTIONS * 40_000 + 10_000
