"""Producers' snapshots: opening a log reads what came after one, and knows as much as if it had read all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import anyio
import pytest
from broker_kit import Kit, ManualClock, SlowStore, a_kit, done, numbered, turns, view
from hypothesis import given, settings
from hypothesis import strategies as st

from kgw_core.background import Background
from kgw_core.errors import KafkaStorageError
from kgw_core.log import snapshots
from kgw_core.log.ledger import CountingLedger
from kgw_core.log.manager import LogManager
from kgw_core.log.partition import PartitionLog
from kgw_core.log.producers import Appended, Producers
from kgw_core.log.snapshots import PIECE, Checkpoints, Snapshots, Unsettled, packed, unpacked
from kgw_core.pending import Pending
from kgw_core.spi.state import StateCapabilities
from kgw_core.spi.storage import Capabilities, Run, Topic, TopicPartition
from kgw_core.state.memory import MemoryStateStore

pytestmark = pytest.mark.anyio

TP = TopicPartition("t", uuid4(), 0)

BATCHES = st.lists(
    st.tuples(
        st.integers(1, 2**40), st.integers(0, 2**15 - 1), st.integers(0, 2**31 - 10), st.integers(-1, 2**50)
    ),
    max_size=30,
)


def known(producers: Producers) -> dict[int, tuple[object, ...]]:
    return {
        id: (producer.epoch, producer.last_sequence, producer.last_timestamp, producer.window)
        for id, producer in producers
    }


def snapshots_in(state: MemoryStateStore) -> Snapshots:
    background = Background(ManualClock())
    return Snapshots(Checkpoints(state, (snapshots.key,), background), background)


@settings(deadline=None)
@given(batches=BATCHES, offset=st.integers(30, 2**62))
async def test_a_snapshot_tells_all_that_is_known(
    batches: list[tuple[int, int, int, int]], offset: int
) -> None:
    producers = Producers()
    for number, (id, epoch, sequence, time) in enumerate(batches):
        producers.put(id, epoch, sequence, sequence + 3, Appended(number, time), time)
    data = await packed(producers, offset)
    assert data is not None
    again, at = unpacked(data)
    assert at == offset
    assert known(again) == known(producers)


async def test_what_is_under_way_is_left_out_or_puts_it_off() -> None:
    producers = Producers()
    producers.put(1, 0, 0, 4, Appended(0), 1)
    producers.put(1, 0, 5, 9, Pending(), 1)
    data = await packed(producers, 5)
    assert data is not None
    again, _ = unpacked(data)
    [(_, producer)] = again
    assert producer.last_sequence == 4
    producers.put(2, 0, 0, 4, Pending(), 1)
    assert await packed(producers, 5) == data, "a new one puts off nothing"
    for number in range(2, 6):
        producers.put(1, 0, 5 * number, 5 * number + 4, Pending(), 1)
    assert await packed(producers, 5) == data, "nor one that has as many in flight as it may"


@pytest.mark.parametrize("bumps", [True, False])
async def test_it_is_put_off_where_the_last_acknowledged_batch_is_not_known(bumps: bool) -> None:
    """Batches that were under way when a producer began a new epoch, or had more in flight than it may."""
    producers = Producers()
    producers.put(1, 0, 0, 4, Appended(0), 1)
    for number in range(1, 2 if bumps else 7):
        producers.put(1, 0, 5 * number, 5 * number + 4, Pending(), 1)
    if bumps:
        producers.put(1, 1, 0, 4, Pending(), 1)
    with pytest.raises(Unsettled):
        await packed(producers, 5)


async def test_what_is_appended_meanwhile_is_left_to_the_batches() -> None:
    """Others get their turns every PIECE producers."""
    producers = Producers()
    for id in range(3 * PIECE):
        producers.put(id, 0, 0, 4, Appended(id), 1)
    found: list[bytes | None] = []

    async def pack() -> None:
        found.append(await packed(producers, 3 * PIECE))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pack)
        await turns(2)
        assert not found
        last = 3 * PIECE - 1
        producers.put(last, 0, 5, 9, Appended(3 * PIECE), 1)
        for back in range(5):
            producers.put(last - 1, 1, 5 * back, 5 * back + 4, Appended(3 * PIECE + 1 + back), 1)
        producers.put(3 * PIECE, 0, 0, 4, Appended(3 * PIECE + 6), 1)
    assert found[0] is not None
    again, _ = unpacked(found[0])
    assert [producer.last_sequence for _, producer in again] == [4] * (3 * PIECE - 1)


@pytest.mark.parametrize("each", [1, 5])
async def test_one_that_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch, each: int) -> None:
    """Told by the number of producers before anything is packed, where that suffices."""
    monkeypatch.setattr(snapshots, "MAX_BYTES", 43 * 1_000)
    producers = Producers()
    if each == 1:
        producers.put(9_999, 0, 0, 4, Pending(), 1)  # which would put it off if it were looked at
    for id in range(1_600 // each):
        for number in range(each):
            producers.put(id, 0, number, number, Appended(id), 1)
    assert await packed(producers, 5_000) is None


async def test_a_damaged_one_counts_as_none(caplog: pytest.LogCaptureFixture) -> None:
    state = MemoryStateStore()
    producers = Producers()
    producers.put(1, 0, 0, 4, Appended(0), 1)
    data = await packed(producers, 5)
    assert data is not None
    for damaged in (data[:-1], b"\x07" + data[1:], b""):
        await state.commit({snapshots.key(TP): damaged})
        found, offset = await snapshots_in(state).load(TP, 2, 9)
        assert (len(found), offset) == (0, 2)
    assert caplog.text.count("its producers are read from all of its records") == 3


@pytest.mark.parametrize(
    ("start", "end", "offset", "count"), [(0, 9, 5, 1), (5, 9, 5, 1), (6, 9, 6, 0), (0, 4, 0, 0)]
)
async def test_one_outside_the_log_does_not_count(start: int, end: int, offset: int, count: int) -> None:
    """After a backup was restored the log may end before it; it knows nothing of what was deleted since."""
    state = MemoryStateStore()
    producers = Producers()
    producers.put(1, 0, 0, 4, Appended(0), 1)
    data = await packed(producers, 5)
    assert data is not None
    await state.commit({snapshots.key(TP): data})
    found, at = await snapshots_in(state).load(TP, start, end)
    assert (len(found), at) == (count, offset)


# -- in a gateway


class Durable(SlowStore):
    """Says that it is durable; counts the bytes that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.patient = False
        self.bytes = 0

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return Capabilities(durable=True)

    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> list[Run]:
        runs = list(await super().read(tp, offset, max_bytes, below))
        self.bytes += sum(len(run.data) for run in runs)
        return runs


class DurableState(MemoryStateStore):
    def capabilities(self) -> StateCapabilities:
        return StateCapabilities(durable=True)


async def opened(kit: Kit, state: MemoryStateStore) -> PartitionLog:
    """The log as a gateway that has just started has it."""
    kit.logs = LogManager(kit.log_settings(max_inflated=1 << 20, state=state))
    kit.start_writers(1)
    if "t" not in kit.catalog.by_name:
        await kit.topic()
    log = kit.logs.make_log(kit.catalog.by_name["t"], 0)
    await log.open()
    return log


async def test_a_start_reads_what_came_after_the_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    """And still knows again what was appended before it."""
    monkeypatch.setattr("kgw_core.log.snapshots.EVERY_BYTES", 20_000)
    monkeypatch.setattr("kgw_core.log.snapshots.RETRY_BYTES", 1_000)
    store, state = Durable(), DurableState()
    kit = await a_kit(store)
    log = await opened(kit, state)
    for number in range(300):
        log.append(view(numbered(7, number, value="v" * 500)), False)
        await turns(5)
    await turns()
    store.bytes = 0
    again = await opened(kit, state)
    assert again.high_watermark == 300
    assert 0 < store.bytes < 25_000, "of about 170,000"
    for back in (1, 3, 5):
        outcome = again.append(view(numbered(7, 300 - back, value="v" * 500)), False)
        assert outcome == Appended(300 - back)
    await kit.close()


async def test_a_stop_leaves_little_to_read_and_a_deletion_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "WORTH_BYTES", 1_000)
    store, state = Durable(), DurableState()
    kit = await a_kit(store)
    log = await opened(kit, state)
    for number in range(50):
        log.append(view(numbered(7, number, value="v" * 500)), False)
        await turns(5)
    await kit.logs.drained()
    store.bytes = 0
    again = await opened(kit, state)
    assert store.bytes == 0
    assert len(again.producers) == 1
    kit.logs.delete(again)
    await turns()
    assert await state.get(snapshots.key(log.tp)) is None
    await kit.close()


@pytest.mark.parametrize("kept", [True, False])
async def test_a_producer_whose_batches_were_deleted_goes_on_after_a_restart(
    monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """Kafka Streams deletes what it has read all the time. ``kept``: the snapshot after that was."""
    monkeypatch.setattr(snapshots, "WORTH_BYTES", 0)
    store, state = Durable(), FaultyState()
    kit = await a_kit(store)
    log = await opened(kit, state)
    log.append(view(numbered(7, 0)), False)
    await turns()
    await kit.logs.drained()
    log = await opened(kit, state)
    for number in range(1, 4):
        log.append(view(numbered(7, number)), False)
    await turns()
    if not kept:
        state.faults = [KafkaStorageError("not now")] * 9
    await log.trim(4)
    await turns()
    again = await opened(kit, state)
    sent = [again.append(view(numbered(7, sequence)), False) for sequence in ((3, 4) if kept else (4,))]
    await turns()
    assert [done(each) for each in sent] == [Appended(offset) for offset in ((3, 4) if kept else (4,))]
    await kit.close()


async def test_where_it_is_too_large_the_next_is_as_far_away_as_after_one_that_was_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kgw_core.log.snapshots.EVERY_BYTES", 2_000)
    monkeypatch.setattr("kgw_core.log.snapshots.RETRY_BYTES", 1)
    monkeypatch.setattr(snapshots, "MAX_BYTES", 10)
    tries = 0

    async def counted(producers: Producers, offset: int) -> bytes | None:
        nonlocal tries
        tries += 1
        return await packed(producers, offset)

    monkeypatch.setattr("kgw_core.log.snapshots.packed", counted)
    kit = await a_kit(Durable())
    log = await opened(kit, DurableState())
    size = 0
    for number in range(30):
        data = numbered(7, number, value="v" * 500)
        size += len(data)
        log.append(view(data), False)
        await turns(5)
    assert 1 < tries <= size // 2_000
    await kit.close()


async def test_a_snapshot_that_was_begun_before_a_deletion_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kgw_core.log.snapshots.EVERY_BYTES", 1)
    state = DurableState()
    kit = await a_kit(Durable())
    log = await opened(kit, state)
    go = anyio.Event()

    async def slowly(producers: Producers, offset: int) -> bytes | None:
        data = await packed(producers, offset)
        await go.wait()
        return data

    monkeypatch.setattr("kgw_core.log.snapshots.packed", slowly)
    log.append(view(numbered(7, 0)), False)
    await turns()
    log.topic.deleted = True
    kit.logs.delete(log)
    await turns()
    go.set()
    await turns()
    assert await state.get(snapshots.key(log.tp)) is None
    await kit.close()


class LateState(DurableState):
    """Values get there when ``go`` is set; what takes them away does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.go = anyio.Event()

    async def commit(self, changes: Mapping[bytes, bytes | None], **options: Any) -> int:
        if any(changes.values()):
            await self.go.wait()
        return await super().commit(changes, **options)


class LateFaultyState(LateState):
    """The same, and then says that they may not have got there."""

    async def commit(self, changes: Mapping[bytes, bytes | None], **options: Any) -> int:
        version = await super().commit(changes, **options)
        if any(changes.values()):
            raise OSError("it may be there")
        return version


@pytest.mark.parametrize("kind", [LateState, LateFaultyState])
async def test_a_snapshot_that_is_on_its_way_at_a_deletion_is_not_kept(
    kind: type[LateState], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "EVERY_BYTES", 1)
    state = kind()
    kit = await a_kit(Durable())
    log = await opened(kit, state)
    log.append(view(numbered(7, 0)), False)
    await turns()
    log.topic.deleted = True
    kit.logs.delete(log)
    await turns()
    state.go.set()
    await turns()
    assert await state.get(snapshots.key(log.tp)) is None
    await kit.close()


class FaultyState(DurableState):
    """Commits that put something, or (``deleting``) take something away, raise what ``faults`` holds."""

    def __init__(self, *, deleting: bool = False) -> None:
        super().__init__()
        self.faults: list[Exception] = []
        self.deleting = deleting

    async def commit(self, changes: Mapping[bytes, bytes | None], **options: Any) -> int:
        if self.faults and (None in changes.values()) == self.deleting:
            raise self.faults.pop(0)
        return await super().commit(changes, **options)


async def test_a_log_that_is_closed_when_its_snapshot_is_due_is_not_left_out() -> None:
    """An append has failed meanwhile, and nobody has used the log since."""
    store, state = Durable(), FaultyState()
    kit = await a_kit(store)
    log = await opened(kit, state)
    log.append(view(numbered(7, 0)), False)
    await turns()
    state.faults = [KafkaStorageError("not now")]
    await log.trim(1)
    await turns()
    assert not state.faults
    store.fail("append", KafkaStorageError("not now"))
    failed = log.append(view(numbered(7, 1)), False)
    await turns()
    assert not log.ready
    with pytest.raises(KafkaStorageError):
        done(failed)
    await kit.logs.drained()
    again = await opened(kit, state)
    sent = [again.append(view(numbered(7, sequence)), False) for sequence in (0, 1)]
    await turns()
    assert [done(each) for each in sent] == [Appended(0), Appended(1)], "the first is known again"
    await kit.close()


async def test_it_is_kept_before_the_batches_that_tell_of_producers_are_deleted() -> None:
    """A gateway may be killed before it does anything more."""
    store, state = Durable(), DurableState()
    kit = await a_kit(store)
    log = await opened(kit, state)
    for number in range(3):
        log.append(view(numbered(7, number)), False)
        await turns()
    kept = []
    commit = state.commit

    async def noted(changes: Mapping[bytes, bytes | None], **options: Any) -> int:
        kept.append((await store.bounds(log.tp)).start)
        return await commit(changes, **options)

    state.commit = noted  # type: ignore[method-assign, assignment]
    await log.trim(2)
    await turns()
    assert kept == [0], "once, and before"
    await log.trim(3)
    await turns()
    assert kept == [0, 2]
    again = await opened(kit, state)
    sent = [again.append(view(numbered(7, sequence)), False) for sequence in (0, 2, 3)]
    await turns()
    assert [done(each) for each in sent] == [Appended(0), Appended(2), Appended(3)]
    await kit.close()


FAULTS = [KafkaStorageError("not now"), OSError("disk"), ValueError("a fault")]


@pytest.mark.parametrize("error", FAULTS, ids=repr)
async def test_a_snapshot_is_kept_after_any_failure(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kgw_core.log.snapshots.EVERY_BYTES", 1)
    state = FaultyState()
    kit = await a_kit(Durable())
    log = await opened(kit, state)
    state.faults = [error] * 3
    log.append(view(numbered(7, 0)), False)
    await turns()
    assert list(kit.logs.background.health.failing) == ["keeping snapshots of producers"]
    for _ in range(10):
        await kit.clock.advance(1)
    assert await state.get(snapshots.key(log.tp)) is not None
    assert not kit.logs.background.health.failing
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    await kit.close()


@pytest.mark.parametrize("error", FAULTS, ids=repr)
async def test_a_stop_goes_on_though_snapshots_cannot_be_kept(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(snapshots, "WORTH_BYTES", 1)
    state = FaultyState()
    kit = await a_kit(Durable())
    log = await opened(kit, state)
    log.append(view(numbered(7, 0)), False)
    await turns()
    state.faults = [error] * 3
    await kit.logs.drained()
    assert "have no new snapshot of their producers" in caplog.text
    await kit.close()


@pytest.mark.parametrize("error", FAULTS, ids=repr)
async def test_a_deleted_log_is_forgotten_after_any_failure(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgw_core.log.snapshots.EVERY_BYTES", 1)
    state = FaultyState(deleting=True)
    kit = await a_kit(Durable())
    log = await opened(kit, state)
    log.append(view(numbered(7, 0)), False)
    await turns()
    assert await state.get(snapshots.key(log.tp)) is not None
    state.faults = [error] * 3
    log.topic.deleted = True
    kit.logs.delete(log)
    await turns()
    assert list(kit.logs.background.health.failing) == ["forgetting deleted partitions"]
    for _ in range(10):
        await kit.clock.advance(1)
    assert await state.get(snapshots.key(log.tp)) is None
    assert not kit.logs.background.health.failing
    await kit.close()


async def test_a_stop_tries_once_more_to_forget_a_deleted_log() -> None:
    state = FaultyState(deleting=True)
    kit = await a_kit(Durable())
    log = await opened(kit, state)
    await state.commit({snapshots.key(log.tp): b"old"})
    state.faults = [OSError("disk")]
    log.topic.deleted = True
    kit.logs.delete(log)
    await turns()
    await kit.logs.drained()
    assert await state.get(snapshots.key(log.tp)) is None
    await kit.close()


async def test_an_earlier_leader_does_not_put_an_older_one_in_its_place() -> None:
    """It was paused and does not know yet. The newer one tells of producers whose batches are deleted."""
    store, state = Durable(), DurableState()
    kit, other = await a_kit(store), await a_kit(store)
    before = await opened(kit, state)
    before.append(view(numbered(1, 0)), False)
    await turns()
    assert kit.logs.snapshots is not None
    await kit.logs.snapshots.save(before)
    await other.catalog.refresh()
    now = await opened(other, state)
    now.append(view(numbered(2, 0)), False)
    await turns()
    await now.trim(2)
    await kit.logs.snapshots.save(before)
    again = await opened(await a_kit(store), state)
    assert {id for id, _ in again.producers} == {1, 2}
    now.append(view(numbered(2, 1)), False)
    await turns()
    assert other.logs.snapshots is not None
    await other.logs.snapshots.save(now)
    again = await opened(await a_kit(store), state)
    assert {id: producer.last_sequence for id, producer in again.producers} == {1: 0, 2: 1}


@pytest.mark.parametrize("shared", [True, False])
async def test_refusals_are_kept_for_the_next_start_only_where_no_other_gateway_may_lead(
    shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CountingLedger, "shared", shared)
    store, state = Durable(), DurableState()
    kit = await a_kit(store)
    log = await opened(kit, state)
    kit.logs.refused.remember(log.tp, 7, 0, 1)
    await turns()
    again = await a_kit(store)
    await opened(again, state)
    await again.logs.refused.load()
    assert again.logs.refused.active is not shared
