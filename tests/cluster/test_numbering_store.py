"""A store that numbers records itself keeps the contract, and the core says its offsets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
from broker_kit import Kit, a_kit, done, numbered, turns, values_of, view, waiting
from broker_kit import batch as a_batch
from numbering_store import NumberingStore, guest

from kgw_core.log.lookup import offset_for_time
from kgw_core.log.producers import Appended
from kgw_core.testing import LogStoreSuite


class TestNumberingStore(LogStoreSuite):
    @pytest.fixture
    def store(self) -> NumberingStore:
        return NumberingStore()


pytestmark = pytest.mark.anyio


@pytest.fixture
def store() -> NumberingStore:
    return NumberingStore()


@pytest.fixture
async def kit(store: NumberingStore) -> AsyncIterator[Kit]:
    made = await a_kit(store)
    await store.open(made.context)
    yield made
    await made.close()


async def test_each_batch_of_one_append_is_told_its_own_offset(kit: Kit, store: NumberingStore) -> None:
    """Others wrote between them: 0, 2, 4 and 6, where the first one's and a count would say 0 to 3."""
    log = await kit.log()
    store.guests = [b"x", b"y", b"z"]
    pending = [log.append(view(a_batch(value)), False) for value in "abcd"]
    await turns()
    assert [done(each) for each in pending] == [Appended(0), Appended(2), Appended(4), Appended(6)]
    assert log.high_watermark == 7
    assert values_of(await log.read(0, 1 << 20)) == [b"a", b"x", b"b", b"y", b"c", b"z", b"d"]


async def test_a_duplicate_is_told_the_offset_that_the_store_gave(kit: Kit, store: NumberingStore) -> None:
    log = await kit.log()
    store.guests = [b"x", b"y", b"z"]
    pending = [log.append(view(numbered(7, sequence)), False) for sequence in range(3)]
    await turns()
    offsets = [done(each) for each in pending]
    there = values_of(await log.read(0, 1 << 20))
    assert [there[each.base_offset] for each in offsets] == [b"v0", b"v1", b"v2"]
    again = [log.append(view(numbered(7, sequence)), False) for sequence in range(3)]
    await turns()
    assert [done(each) for each in again] == offsets
    assert len(values_of(await log.read(0, 1 << 20))) == len(there)


async def test_what_others_append_is_seen_and_wakes_who_waits(kit: Kit, store: NumberingStore) -> None:
    """The high watermark follows; before the store tells of it, nothing above it is read or found."""
    log = await kit.log()
    await store.inner.append(log.tp, [guest(0, b"early")])
    assert log.high_watermark == 0
    assert list(await log.read(0, 1 << 20)) == []
    assert await offset_for_time(log, 0, 1 << 20) is None
    store.context.events.grown(log.tp, 1)
    assert log.high_watermark == 1
    assert values_of(await log.read(0, 1 << 20)) == [b"early"]
    assert (await offset_for_time(log, 0, 1 << 20)).offset == 0  # type: ignore[union-attr]
    await store.others_write(log.tp, b"more", b"and more")
    assert log.high_watermark == 3
    store.context.events.grown(log.tp, 2)
    assert log.high_watermark == 3, "it never goes back"


async def test_an_append_that_is_told_late_does_not_take_the_high_watermark_back(
    kit: Kit, store: NumberingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have written behind it, and were heard of before its own answer came."""
    log = await kit.log()
    answer = anyio.Event()
    append = store.append

    async def slow(*arguments: object) -> object:
        bases = await append(*arguments)  # type: ignore[arg-type]
        await answer.wait()
        return bases

    monkeypatch.setattr(store, "append", slow)
    pending = waiting(log.append(view(a_batch("a")), False))
    await turns()
    await store.others_write(log.tp, b"x", b"y")
    assert log.high_watermark == 3
    answer.set()
    await turns()
    assert done(pending) == Appended(0)
    assert log.high_watermark == 3
