"""The log-backed state store: a crash or a failure at any point leaves what was acknowledged, and no more
than what was asked; the log stays short."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import KafkaStorageError, NotCoordinator
from kgw_core.records import build_batch
from kgw_core.spi.state import Entry
from kgw_core.spi.storage import Batch, OffsetConflict, TopicPartition
from kgw_core.state.log import TOPIC, LogStateStore
from kgw_core.testing.faults import FaultyStore

SMALL = {"snapshot_bytes": 600, "piece_bytes": 120}
pytestmark = pytest.mark.anyio


async def reopened(store: Any) -> LogStateStore:
    state = LogStateStore(store, **SMALL)
    await state.open()
    return state


async def everything(state: LogStateStore) -> dict[bytes, tuple[bytes, int]]:
    return {entry.key: (entry.value, entry.version) async for entry in state.scan(b"")}


async def log_of(store: MemoryStore) -> TopicPartition:
    (topic,) = await store.topics()
    assert topic.name == TOPIC
    return TopicPartition(TOPIC, topic.id, 0)


changes = st.dictionaries(
    st.sampled_from([b"a/%d" % number for number in range(12)]),
    st.one_of(st.none(), st.binary(max_size=60)),
    min_size=1,
    max_size=6,
)
faults = st.sampled_from(["none"] * 6 + ["refused", "lost", "late", "trim", "trim late", "crash"])


@given(st.lists(st.tuples(changes, faults), max_size=60))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_failure_at_any_point_loses_nothing_and_invents_nothing(
    steps: list[tuple[dict[bytes, bytes | None], str]],
) -> None:
    async def run() -> None:
        inner = MemoryStore()
        store = FaultyStore(inner)
        state = await reopened(store)
        model: dict[bytes, tuple[bytes, int]] = {}
        last = 0
        for change, fault in steps:
            if fault == "crash":
                state = await reopened(store)
            elif fault == "refused":
                store.fail("append", KafkaStorageError("not now"))
            elif fault in ("lost", "late"):
                store.fail("append", OSError("disk"), late=fault == "late")
            elif fault.startswith("trim"):
                store.fail("trim", OSError("disk"), late=fault == "trim late")
            try:
                version = await state.commit(change)
            except KafkaStorageError:
                assert fault in ("refused", "lost")
            else:
                assert fault not in ("refused", "lost")
                assert version > last
                last = version
                for key, value in change.items():
                    model.pop(key, None)
                    if value is not None:
                        model[key] = (value, version)
            assert await everything(state) == model
            assert await everything(await reopened(inner)) == model

    anyio.run(run)


async def test_the_log_stays_short() -> None:
    store = MemoryStore()
    state = await reopened(store)
    for number in range(2_000):
        await state.commit({b"a/%d" % (number % 10): b"x" * 20})
    bounds = await store.bounds(await log_of(store))
    assert bounds.start > 0
    assert bounds.size < 20 * SMALL["snapshot_bytes"]
    assert len(await everything(await reopened(store))) == 10


async def test_versions_go_on_after_a_snapshot_though_the_newest_keys_are_gone() -> None:
    store = MemoryStore()
    state = await reopened(store)
    for number in range(200):
        last = await state.commit({b"a/%d" % number: b"x" * 20})
        last = await state.commit({b"a/%d" % number: None})
    assert await (await reopened(store)).commit({b"a/0": b""}) > last


async def test_a_large_commit_is_one_append() -> None:
    store = FaultyStore(MemoryStore())
    state = await reopened(store)
    store.calls.clear()
    await state.commit({b"a/%d" % number: b"x" for number in range(500)})
    assert store.calls.count("append") == 1


async def test_while_it_is_not_known_what_the_log_has_nothing_is_answered() -> None:
    store = FaultyStore(MemoryStore())
    state = await reopened(store)
    store.fail("append", OSError("disk"), late=True)
    store.fail("bounds", OSError("disk"), times=3)
    with pytest.raises(OSError, match="disk"):
        await state.commit({b"a/1": b"x"})
    with pytest.raises(KafkaStorageError):
        await state.get(b"a/1")
    with pytest.raises(KafkaStorageError):
        await state.commit({b"a/2": b"x"})
    assert await state.get(b"a/1") == Entry(b"a/1", b"x", 1)
    assert await state.commit({b"a/2": b"x"}) == 2


async def test_somebody_elses_records_are_taken_over_and_told() -> None:
    store = MemoryStore()
    mine, other = await reopened(store), await reopened(store)
    await other.commit({b"a/1": b"other"})
    with pytest.raises(NotCoordinator):
        await mine.commit({b"a/1": b"mine"})
    assert await mine.get(b"a/1") == Entry(b"a/1", b"other", 1)
    assert await mine.commit({b"a/1": b"mine"}) == 2


async def test_a_reader_that_is_behind_starts_where_the_log_does() -> None:
    store = MemoryStore()
    state = await reopened(store)
    for number in range(100):
        await state.commit({b"a/%d" % (number % 5): b"%d" % number})
    tp = await log_of(store)
    bounds = await store.bounds(tp)
    stray = build_batch([(b"k", b"v")], base_offset=bounds.end + 5)
    with pytest.raises(OffsetConflict):
        await store.append(tp, [Batch(bounds.end + 5, 1, -1, stray)])
    assert await everything(await reopened(store)) == await everything(state)
