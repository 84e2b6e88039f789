"""The tail cache: what is read from it is what the store would give, and it stays within its room."""

from __future__ import annotations

import itertools
from uuid import uuid4

import pytest
from broker_kit import NOW, Kit, SlowStore, a_kit, batch, done, numbered, turns, values_of, view, waiting
from hypothesis import given, settings
from hypothesis import strategies as st

from kgw_core.log.manager import LogManager
from kgw_core.log.partition import PartitionLog
from kgw_core.log.tail import SHARE, TailCache
from kgw_core.records.arena import LARGEST, Arena
from kgw_core.records.segments import Segments
from kgw_core.spi.storage import Batch, Read, Run, TopicPartition
from kgw_core.testing.batches import make_batch, stored_batches

pytestmark = pytest.mark.anyio

TPS = [TopicPartition(f"t{number}", uuid4(), 0) for number in range(3)]


# -- by itself


def test_it_gives_what_was_appended_last() -> None:
    cache = TailCache(1 << 20)
    cache.append(TPS[0], 5, [make_batch(5, 2), make_batch(7, 1)])
    cache.append(TPS[0], 8, [make_batch(8, 1)])
    runs = cache.read(TPS[0], 6, 1 << 20)
    assert runs is not None
    assert [base for base, _, _ in stored_batches(runs)] == [5, 7, 8]
    assert cache.read(TPS[0], 4, 1 << 20) is None
    assert cache.read(TPS[0], 9, 1 << 20) is None
    assert cache.read(TPS[1], 5, 1 << 20) is None


def test_an_append_that_does_not_follow_begins_anew() -> None:
    cache = TailCache(1 << 20)
    cache.append(TPS[0], 0, [make_batch(0, 1)])
    cache.append(TPS[0], 3, [make_batch(3, 1)])
    assert cache.read(TPS[0], 0, 100) is None
    assert cache.read(TPS[0], 3, 100) is not None
    assert cache.size == len(make_batch(3, 1).data)


def test_a_batch_is_not_kept_in_memory_that_it_shares_with_much_else() -> None:
    """Else a log that gets few would hold whole chunks of frames, though only its batches are counted."""
    cache, arena = TailCache(16 << 20), Arena()
    for number, (size, with_others) in enumerate(((40_000, True), (LARGEST + 1, False))):
        data = make_batch(0, 1, size=size).data
        frame = arena.take(len(data) + 60)[60:]
        frame[:] = data
        cache.append(TPS[number], 0, [Batch(0, 1, NOW, frame, True)])
        runs = cache.read(TPS[number], 0, 1 << 20)
        assert runs is not None
        assert runs[0].data == data
        kept = memoryview(runs[0].data)
        assert (kept.obj is not frame.obj) is with_others


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.sampled_from([70, 500, 3_000, 30_000])),
        st.tuples(st.just("drop"), st.integers(0, 2), st.none() | st.integers(0, 60)),
        st.tuples(st.just("read"), st.integers(0, 2), st.integers(0, 60)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(operations=OPERATIONS)
def test_it_agrees_with_the_whole_log_within_its_room(
    operations: list[tuple[str, int, int]],
) -> None:
    """Whatever it gives is what a store that has everything gives."""
    room = 64 << 10
    cache = TailCache(room)
    logs = [Segments() for _ in TPS]
    for kind, number, argument in operations:
        tp, log = TPS[number], logs[number]
        if kind == "append":
            new = make_batch(log.end, 2, size=argument)
            log.append(*new)
            cache.append(tp, new.base_offset, [new])
            assert cache.read(tp, new.base_offset, 1) or argument > room // SHARE
        elif kind == "drop":
            cache.drop(tp, None if argument is None else argument - argument % 2)
        else:
            runs = cache.read(tp, argument, 5_000)
            if runs is not None:
                assert stored_batches(runs) == stored_batches(log.read(argument, 5_000))
        assert 0 <= cache.size <= room


# -- under a log


class Counting(SlowStore):
    """Appends pass at once; reads are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.patient = False
        self.reads: list[Read] = []

    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> list[Run]:
        self.reads.append(Read(tp, offset, max_bytes))
        return list(await super().read(tp, offset, max_bytes, below))


async def cached(store: SlowStore) -> tuple[Kit, PartitionLog]:
    kit = await a_kit(store)
    kit.logs = kit.broker.logs = LogManager(kit.log_settings(max_inflated=1 << 20, tail_cache=1 << 20))
    kit.catalog.log_factory = kit.logs.make_log
    kit.start_writers()
    return kit, await kit.log()


async def test_the_end_of_a_log_is_read_without_the_store() -> None:
    store = Counting()
    kit, log = await cached(store)
    for value in ("a", "b", "c"):
        log.append(view(batch(value)), False)
        await turns()
    store.reads.clear()
    runs = log.read_now(1, 1 << 20)
    assert values_of(runs) == [b"b", b"c"]
    assert values_of(await log.read(0, 1 << 20)) == [b"a", b"b", b"c"]
    assert store.reads == []
    await kit.close()


async def test_what_is_not_acknowledged_is_not_given() -> None:
    store = SlowStore()
    kit, log = await cached(store)
    log.append(view(batch("a")), False)
    (await store.arrived()).release()
    await turns()
    log.append(view(batch("b")), False)
    await store.arrived()
    assert values_of(log.read_now(0, 1 << 20)) == [b"a"]
    assert log.read_now(1, 1 << 20) == ()
    store.held[0].fail(OSError("no"), landed=True)
    await turns()
    assert values_of(log.read_now(0, 1 << 20)) == [b"a", b"b"], "it had landed"
    await kit.close()


async def test_trims_and_deletions_reach_it() -> None:
    store = Counting()
    kit, log = await cached(store)
    for _ in range(4):
        log.append(view(batch("v")), False)
        await turns()
    tails = kit.logs.tails
    assert tails is not None
    size = tails.size
    await log.trim(2)
    assert tails.size == size // 2
    await kit.catalog.delete("t")
    assert tails.size == 0
    await kit.close()


async def test_an_append_that_is_stored_after_the_deletion_is_not_kept() -> None:
    store = SlowStore()
    kit, log = await cached(store)
    log.append(view(batch("a")), False)
    under_way = await store.arrived()
    log.topic.deleted = True
    kit.logs.delete(log)
    under_way.release()
    await turns()
    tails = kit.logs.tails
    assert tails is not None
    assert tails.size == 0
    await kit.close()


async def test_batches_of_frames_that_are_used_again_are_copied() -> None:
    """An append that is not stable loses its bytes after the call."""
    store = Counting()
    kit, log = await cached(store)
    data = view(numbered(1, 0, 2))
    log.append(data, False)
    data[:] = b"\xee" * len(data)
    await turns()
    assert values_of(log.read_now(0, 1 << 20)) == [b"v0", b"v1"]
    await kit.close()


async def test_without_memory_for_it_appends_are_answered_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Stored batches are acknowledged. The cache has dropped its batches, and counts none."""
    store = SlowStore()
    kit, log = await cached(store)
    pending = [waiting(log.append(view(batch("a")), False))]
    held = await store.arrived()
    pending += [waiting(log.append(view(batch(value)), False)) for value in "bc"]
    held.release()
    await turns()
    batches = itertools.count(1)

    def taken(_: object) -> bool:
        if next(batches) == 2:
            raise MemoryError
        return False

    with monkeypatch.context() as patch:
        patch.setattr("kgw_core.log.tail._shares", taken)
        (await store.arrived()).release()
        await turns()
    assert [done(each).base_offset for each in pending] == [0, 1, 2]
    tails = kit.logs.tails
    assert tails is not None
    assert tails.size == 0
    assert "MemoryError" in caplog.text
    log.append(view(batch("d")), False)
    (await store.arrived()).release()
    await turns()
    assert tails.size == len(batch("d"))
    store.patient = False
    assert values_of(await log.read(0, 1 << 20)) == [b"a", b"b", b"c", b"d"]
    await kit.close()
