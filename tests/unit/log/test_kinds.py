"""Capabilities of a topic that change with an update: its logs close, and open again as another kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from broker_kit import Kit, NumberingStore, SlowStore, a_kit, done, numbered, turns, values_of, view, waiting
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import KafkaStorageError
from kgw_core.log.partition import PartitionLog
from kgw_core.log.producers import Appended
from kgw_core.spi.storage import Capabilities, Topic

pytestmark = pytest.mark.anyio

P = 7


def is_slow(topic: Topic | None) -> bool:
    return topic is not None and topic.configs.get("retention.ms") == "1000000"


class SometimesSlow(SlowStore):
    """A store that never waits, but for topics with a certain config."""

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return super().capabilities(topic) if is_slow(topic) else MemoryStore().capabilities(topic)


@pytest.fixture
def store() -> SometimesSlow:
    made = SometimesSlow()
    for name in ("append_now", "read_now"):
        setattr(made, name, getattr(made.inner, name))
    return made


@pytest.fixture
async def kit(store: SometimesSlow) -> AsyncIterator[Kit]:
    made = await a_kit(store)
    made.start_writers()
    yield made
    await made.close()


async def change(kit: Kit, *, slow: bool) -> None:
    await kit.catalog.set_configs("t", {"retention.ms": "1000000"} if slow else {})


async def stored(log: PartitionLog) -> list[bytes | None]:
    return values_of(await log.read(0, 1 << 20))


async def test_a_log_that_never_waited_waits(kit: Kit, store: SometimesSlow) -> None:
    """Its producers are known as before."""
    log = await kit.log()
    assert log.append(view(numbered(P, 0)), False) == Appended(0)
    await change(kit, slow=True)
    sent = waiting(log.append(view(numbered(P, 1)), False))
    (await store.arrived()).release()
    await turns()
    assert done(sent) == Appended(1)
    assert log.append(view(numbered(P, 0)), False) == Appended(0)
    assert await stored(log) == [b"v0", b"v1"]


async def test_appends_in_flight_are_answered_first(kit: Kit, store: SometimesSlow) -> None:
    """The queued one is refused, and comes again."""
    await kit.topic()
    await change(kit, slow=True)
    log = await kit.log()
    first = waiting(log.append(view(numbered(P, 0)), False))
    held = await store.arrived()
    queued = waiting(log.append(view(numbered(P, 1)), False))
    await change(kit, slow=False)
    with pytest.raises(KafkaStorageError, match="opens again"):
        done(queued)
    again = waiting(log.append(view(numbered(P, 1)), False))
    await turns()
    assert not first.done and not again.done
    held.release()
    await turns()
    assert [done(each) for each in (first, again)] == [Appended(0), Appended(1)]
    assert log.append(view(numbered(P, 2)), False) == Appended(2), "it does not wait now"
    assert await stored(log) == [b"v0", b"v1", b"v2"]


async def test_a_change_of_something_else_closes_no_log(kit: Kit) -> None:
    log = await kit.log()
    await kit.catalog.set_configs("t", {"retention.ms": "5"})
    assert log.ready


async def test_the_store_begins_to_number_records() -> None:
    """The tail cache, which only knows batches by the core's offsets, is not asked any more."""

    class Later(NumberingStore):
        def capabilities(self, topic: Topic | None = None) -> Capabilities:
            return replace(super().capabilities(topic), numbers_records=is_slow(topic))

        async def append_many(self, appends):  # type: ignore[no-untyped-def]
            numbers = appends[0].batches[0].base_offset < 0
            return await (super().append_many(appends) if numbers else self.inner.append_many(appends))

    store = Later()
    store.patient = False
    kit = await a_kit(store)
    kit.start_writers()
    log = await kit.log()
    for sequence in range(3):
        if sequence == 2:
            await change(kit, slow=True)
        sent = waiting(log.append(view(numbered(P, sequence)), False))
        await turns()
        assert done(sent) == Appended(sequence)
    assert log.kind.numbers_records
    assert await stored(log) == [b"v0", b"v1", b"v2"]
    await kit.close()
