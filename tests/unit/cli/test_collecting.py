"""The garbage collector looks once at what stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from kgw_core.cli import collecting


@pytest.fixture
def keeping_short() -> Iterator[None]:
    threshold, callbacks = gc.get_threshold(), list(gc.callbacks)
    collecting.keep_short()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)
    gc.callbacks[:] = callbacks


@pytest.mark.usefixtures("keeping_short")
def test_a_full_look_is_the_last_one_at_what_it_finds() -> None:
    before = gc.get_freeze_count()
    kept: list[list[object]] = [[[]] for _ in range(1000)]
    assert len(gc.get_objects()) >= 1000
    gc.collect(1)
    assert gc.get_freeze_count() <= before, "not after a look at the young ones: most of them go at once"
    gc.collect()
    assert gc.get_freeze_count() >= before + 1000
    assert len(gc.get_objects()) < 1000
    frozen = gc.get_freeze_count()
    kept.clear()
    assert gc.get_freeze_count() <= frozen - 1000, "freed as ever"


@pytest.mark.usefixtures("keeping_short")
def test_growth_is_looked_at_in_pieces_of_one_size() -> None:
    """However much is there: a full look comes after so many new objects, not after a quarter more."""
    looks: list[int] = []

    def look(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            looks.append(len(gc.get_objects()))

    gc.callbacks.append(look)
    kept = [[each] for each in range(1_000_000)]
    assert len(looks) >= 9
    assert max(looks) < 200_000
    assert len(kept) == 1_000_000
