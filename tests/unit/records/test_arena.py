"""Memory for large frames: used memory is never given out twice, and free memory is used again."""

from __future__ import annotations

import random

import pytest

from kgw_core.records import arena as arenas
from kgw_core.records.arena import CHUNK, LARGEST, SPENT, Arena


def address(view: memoryview) -> int:
    """Of the mapping that ``view`` lies in."""
    return id(view.obj)


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all mappings that are made."""
    sizes: list[int] = []
    make = arenas._map

    def noted(size: int) -> object:
        sizes.append(size)
        return make(size)

    monkeypatch.setattr(arenas, "_map", noted)
    return sizes


def test_views_that_live_never_share_a_byte() -> None:
    """Random sizes, random lives, now and then a slice that outlives its view."""
    rng = random.Random(7)
    arena = Arena()
    held: list[tuple[memoryview, int]] = []
    for number in range(3_000):
        arena.rewind()
        size = rng.choice((1, 1_000, 100_000, LARGEST, LARGEST + 1))
        view = arena.take(size)
        assert len(view) == size
        mark = number % 251
        view[0] = view[-1] = mark
        if rng.random() < 0.2:
            view = view[-1:]
        held.append((view, mark))
        while len(held) > 40 or (held and rng.random() < 0.4):
            view, mark = held.pop(rng.randrange(len(held)))
            assert view[0] == view[-1] == mark
            del view
    assert all(view[0] == view[-1] == mark for view, mark in held)


def test_a_store_that_gives_frames_back_late_fills_the_same_chunks(mapped: list[int]) -> None:
    """Three chunks of frames wait at any time: no more than four are ever made."""
    arena = Arena()
    waiting: list[memoryview] = []
    for _ in range(400):
        arena.rewind()
        waiting.append(arena.take(LARGEST))
        if len(waiting) > 3 * CHUNK // LARGEST:
            waiting.pop(0)
    assert len(mapped) <= 5


def test_frames_that_are_kept_get_new_chunks_and_few_are_remembered(mapped: list[int]) -> None:
    """A memory store keeps all frames: no memory is used again, and the arena's own data stays bounded."""
    arena = Arena()
    kept = [arena.take(LARGEST) for _ in range(30 * CHUNK // LARGEST)]
    assert len(mapped) == 30
    assert len({address(view) for view in kept}) == 30
    assert len(arena._spent) <= SPENT + 1


def test_a_chunk_without_views_begins_anew(mapped: list[int]) -> None:
    """One frame at a time needs one chunk, however many come."""
    arena = Arena()
    for _ in range(100):
        arena.rewind()
        arena.take(LARGEST)
    assert mapped == [CHUNK]
