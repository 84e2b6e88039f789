"""Compaction: what stays, when it runs, and that it never takes what it must not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from broker_kit import (
    NO_TIMES,
    NOW,
    Kit,
    SlowStore,
    UncheckedStore,
    a_kit,
    altered,
    batch,
    batches_of,
    done,
    numbered,
    turns,
    view,
    waiting,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kgw_storage_memory.store import MemoryStore

from kgw_core import workers
from kgw_core.background import Background, PartlyFailed
from kgw_core.log import compaction
from kgw_core.log.cleaning import LastOffsets, cleaned
from kgw_core.log.compaction import MANY, Compaction, Mapped
from kgw_core.log.lookup import offset_of_max_time
from kgw_core.log.partition import PartitionLog
from kgw_core.log.producers import Appended
from kgw_core.log.rewrite import INLINE
from kgw_core.log.snapshots import Checkpoints
from kgw_core.pending import Pending
from kgw_core.records import Record, RecordBatch, build_batch, iter_records
from kgw_core.records.compression import Codec
from kgw_core.spi.storage import Bounds, TopicPartition
from kgw_core.state.memory import MemoryStateStore
from kgw_core.topics.configs import TopicConfigs

pytestmark = pytest.mark.anyio

EAGER = {"cleanup_policy": "compact", "min_cleanable_dirty_ratio": "0.0", "delete_retention_ms": "10000"}

Pair = tuple[bytes, bytes | None]


def put(kit: Kit, log: PartitionLog, *pairs: Pair, codec: int = Codec.NONE, **options: int) -> None:
    """Append one batch; every record has a header that tells its key."""
    time = kit.clock.time_ms()
    records = [(key, value, time + n, [("of", key)]) for n, (key, value) in enumerate(pairs)]
    log.append(view(build_batch(records, codec=codec, **options)), True)


async def batches(log: PartitionLog) -> list[RecordBatch]:
    found: list[RecordBatch] = []
    offset = log.start
    while offset < log.high_watermark:
        runs = await log.read(offset, 1000)
        assert runs, f"nothing at {offset}, the log ends at {log.high_watermark}"
        found += batches_of(runs)
        offset = runs[-1].next_offset
    return found


async def kept(log: PartitionLog) -> list[Record]:
    return [record for batch in await batches(log) for record in iter_records(batch)]


async def offsets(log: PartitionLog) -> list[int]:
    return [record.offset for record in await kept(log)]


async def compact(kit: Kit) -> None:
    await kit.logs.compaction.check()


# -- which records stay


async def test_of_each_key_the_last_record_stays_where_it_was(kit: Kit) -> None:
    log = await kit.log(**EAGER)
    for key, value in ((b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"c", b"1"), (b"b", b"2"), (b"end", b"1")):
        put(kit, log, (key, value))
    before = await kept(log)
    await compact(kit)
    assert await kept(log) == [before[2], before[3], before[4], before[5]]
    assert (log.start, log.high_watermark) == (0, 6)


async def test_what_is_left_of_a_batch_without_times_has_none(kit: Kit) -> None:
    """Times below 0 are unknown: the header says -1, as that of a batch that is appended."""
    log = await kit.log(**EAGER)
    log.append(view(build_batch([(b"a", b"1", -5), (b"b", b"1", -7), (b"a", b"2", -7)])), False)
    put(kit, log, (b"end", b"1"))
    assert (await batches(log))[0].max_timestamp == -1
    await compact(kit)
    first = (await batches(log))[0]
    assert [record.timestamp for record in iter_records(first)] == [-7, -7]
    assert first.max_timestamp == -1
    first.check_crc()


@pytest.mark.parametrize("codec", list(Codec))
async def test_a_batch_that_loses_records_keeps_its_span_its_codec_and_the_rest(
    kit: Kit, codec: Codec
) -> None:
    log = await kit.log(**EAGER)
    put(kit, log, (b"a", b"1"), (b"b", b"1"), (b"a", b"2"), codec=codec)
    put(kit, log, (b"b", b"2"))
    before = await kept(log)
    await compact(kit)
    first, second = await batches(log)
    assert (first.base_offset, first.last_offset, first.record_count, first.codec) == (0, 2, 1, codec)
    assert list(iter_records(first)) == [before[2]]
    assert first.max_timestamp == before[2].timestamp
    assert list(iter_records(second)) == [before[3]]


async def test_a_record_without_a_key_goes(kit: Kit) -> None:
    """It is there from a time when the topic was not compacted."""
    log = await kit.log(cleanup_policy="delete")
    log.append(view(build_batch([(None, b"1"), (b"k", b"2")])), True)
    await kit.catalog.set_configs("t", {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"})
    put(kit, log, (b"end", b"1"))
    await compact(kit)
    assert await offsets(log) == [1, 2]


async def test_long_keys_that_begin_alike_are_told_apart(kit: Kit) -> None:
    log = await kit.log(**EAGER)
    for end in (b"x", b"y", b"x", b"z"):
        put(kit, log, (b"k" * 5_000 + end, b"v"))
    await compact(kit)
    assert await offsets(log) == [1, 2, 3]


# -- tombstones


async def test_a_tombstone_goes_delete_retention_after_the_compaction_that_met_it(kit: Kit) -> None:
    log = await kit.log(**EAGER)
    put(kit, log, (b"a", b"1"))
    put(kit, log, (b"a", None))
    put(kit, log, (b"b", b"1"))
    await compact(kit)
    assert await offsets(log) == [1, 2]
    [tombstone, _] = await batches(log)
    assert tombstone.has_delete_horizon
    assert tombstone.base_timestamp == NOW + 10_000
    assert [record.timestamp for record in iter_records(tombstone)] == [NOW]
    await kit.clock.advance(10)
    put(kit, log, (b"c", b"1"))
    await compact(kit)
    assert await offsets(log) == [1, 2, 3], "the horizon has not passed"
    await kit.clock.advance(0.001)
    put(kit, log, (b"d", b"1"))
    await compact(kit)
    assert await offsets(log) == [2, 3, 4]


async def test_a_value_after_a_tombstone_stays(kit: Kit) -> None:
    log = await kit.log(**EAGER)
    put(kit, log, (b"a", None))
    put(kit, log, (b"a", b"2"))
    put(kit, log, (b"b", b"1"))
    await compact(kit)
    assert await offsets(log) == [1, 2]


# -- when


async def test_a_log_waits_until_enough_of_it_is_new(kit: Kit) -> None:
    log = await kit.log(cleanup_policy="compact", min_cleanable_dirty_ratio="0.5")
    for _ in range(10):
        put(kit, log, (b"a", b"v" * 100))
    await compact(kit)
    assert await offsets(log) == [9], "all of it was new"
    for key in (b"1", b"2", b"3", b"4", b"5", b"6", b"7"):
        put(kit, log, (key, b"v" * 100))
    await compact(kit)
    assert await offsets(log) == [9, *range(10, 17)]
    put(kit, log, (b"a", b"v" * 10))
    await compact(kit)
    assert await offsets(log) == [9, *range(10, 18)], "little of it is new"
    for _ in range(10):
        put(kit, log, (b"a", b"v" * 100))
    await compact(kit)
    assert await offsets(log) == [*range(10, 17), 27]


async def test_young_records_are_safe_and_no_reason_to_drop_others(kit: Kit) -> None:
    log = await kit.log(min_compaction_lag_ms="60000", **EAGER)
    put(kit, log, (b"a", b"1"))
    put(kit, log, (b"a", b"2"))
    await kit.clock.advance(50)
    put(kit, log, (b"a", b"3"))
    await compact(kit)
    assert await offsets(log) == [0, 1, 2]
    await kit.clock.advance(11)
    await compact(kit)
    assert await offsets(log) == [1, 2]
    await kit.clock.advance(50)
    await compact(kit)
    assert await offsets(log) == [2]


async def test_an_old_record_is_a_reason_however_little_is_new(kit: Kit) -> None:
    log = await kit.log(
        cleanup_policy="compact", min_cleanable_dirty_ratio="1", max_compaction_lag_ms="60000"
    )
    put(kit, log, (b"a", b"1"))
    put(kit, log, (b"a", b"2"))
    await compact(kit)
    assert await offsets(log) == [0, 1]
    await kit.clock.advance(61)
    await compact(kit)
    assert await offsets(log) == [1]


@pytest.mark.parametrize("time", NO_TIMES)
async def test_without_a_time_a_record_is_young_as_long_as_it_was_written_lately(kit: Kit, time: int) -> None:
    log = await kit.log(min_compaction_lag_ms="60000", **EAGER)
    for value in ("1", "2"):
        log.append(view(batch(value, key=b"a", time=time)), True)
    await kit.clock.advance(50)
    log.append(view(batch("3", key=b"a", time=time)), True)
    await compact(kit)
    assert await offsets(log) == [0, 1, 2]
    await kit.clock.advance(10)
    await compact(kit)
    assert await offsets(log) == [0, 1, 2], "a store may keep one write time for all of them"
    await kit.clock.advance(50)
    log.append(view(batch("4", key=b"b", time=time)), True)
    await kit.clock.advance(61)
    await compact(kit)
    assert await offsets(log) == [2, 3]


@pytest.mark.parametrize("time", NO_TIMES)
async def test_without_a_time_a_record_is_overdue_when_it_was_written_long_ago(kit: Kit, time: int) -> None:
    log = await kit.log(
        cleanup_policy="compact", min_cleanable_dirty_ratio="1", max_compaction_lag_ms="60000"
    )
    for value in ("1", "2"):
        log.append(view(batch(value, key=b"a", time=time)), True)
    await compact(kit)
    await kit.clock.advance(60)
    await compact(kit)
    assert await offsets(log) == [0, 1]
    await kit.clock.advance(1)
    await compact(kit)
    assert await offsets(log) == [1]


@pytest.mark.parametrize("header", [-1, 0, NOW - 100_000])
async def test_a_header_that_says_less_than_its_records_makes_nothing_older(header: int) -> None:
    store = UncheckedStore()
    kit = await a_kit(store)
    [log] = (await kit.topic(min_compaction_lag_ms="60000", **EAGER)).partitions
    await store.put(log.tp, *[altered(batch(value, key=b"a"), max_timestamp=header) for value in "123"])
    await compact(kit)
    assert await offsets(log) == [0, 1, 2]
    await kit.clock.advance(61)
    await compact(kit)
    assert await offsets(log) == [2]
    await kit.close()


async def test_a_batch_that_loses_its_records_has_no_time(kit: Kit) -> None:
    """Its header stays for its producer, and nobody finds it by a time that no record has."""
    log = await kit.log(**EAGER)
    log.append(
        view(batch("1", key=b"a", time=NOW + 5, producer_id=7, producer_epoch=0, base_sequence=0)), True
    )
    put(kit, log, (b"a", b"2"))
    put(kit, log, (b"b", b"3"))
    await compact(kit)
    assert [(each.record_count, each.max_timestamp) for each in await batches(log)] == [
        (0, -1),
        (1, NOW),
        (1, NOW),
    ]
    assert await offset_of_max_time(log, 1 << 20) == (1, NOW, 0)


async def test_a_batch_that_loses_its_records_still_tells_its_producer_its_log_append_time() -> None:
    store = MemoryStore()
    kit = await a_kit(store)
    log = await kit.log(message_timestamp_type="LogAppendTime", **EAGER)
    first = log.append(view(numbered(7, 0)), True)
    for _ in range(2):
        log.append(view(batch("2")), True)
    await compact(kit)
    assert [each.record_count for each in await batches(log)] == [0, 1]
    again = await (await a_kit(store)).log()
    assert again.append(view(numbered(7, 0)), True) == first == Appended(0, NOW)
    assert await offset_of_max_time(again, 1 << 20) == (2, NOW, 0)


async def test_a_log_without_anything_new_is_left_alone(kit: Kit) -> None:
    """Also one whose last batch, which always stays, is overdue."""
    log = await kit.log(max_compaction_lag_ms="1000", **EAGER)
    put(kit, log, (b"a", b"1"))
    put(kit, log, (b"b", b"1"))
    await kit.clock.advance(10)
    await compact(kit)
    reads = 0
    read = kit.store.read

    async def counting(tp: TopicPartition, offset: int, max_bytes: int) -> object:
        nonlocal reads
        reads += 1
        return await read(tp, offset, max_bytes)

    kit.store.read = counting  # type: ignore[method-assign, assignment]
    await compact(kit)
    assert reads == 0


async def test_only_topics_that_ask_for_it_are_compacted(kit: Kit) -> None:
    logs = [
        await kit.log(f"t{number}", cleanup_policy=policy, min_cleanable_dirty_ratio="0")
        for number, policy in enumerate(("delete", "compact", "compact,delete", "delete,compact"))
    ]
    for log in logs:
        put(kit, log, (b"a", b"1"))
        put(kit, log, (b"a", b"2"))
    await compact(kit)
    assert [await offsets(log) for log in logs] == [[0, 1], [1], [1], [1]]


async def test_compact_and_delete_does_both(kit: Kit) -> None:
    log = await kit.log(cleanup_policy="compact,delete", min_cleanable_dirty_ratio="0", retention_ms="100000")
    put(kit, log, (b"a", b"1"))
    await kit.clock.advance(60)
    put(kit, log, (b"b", b"1"))
    put(kit, log, (b"b", b"2"))
    await kit.clock.advance(60)
    await kit.logs.retention.check()
    await compact(kit)
    assert log.start == 1
    assert await offsets(log) == [2]


async def test_the_log_is_compacted_by_itself_every_interval(kit: Kit) -> None:
    log = await kit.log(**EAGER)
    put(kit, log, (b"a", b"1"))
    put(kit, log, (b"a", b"2"))
    kit.spawn(kit.logs.upkeep())
    await turns()
    await kit.clock.advance(14.9)
    assert await offsets(log) == [0, 1]
    await kit.clock.advance(0.2)
    with anyio.fail_after(10):
        while await offsets(log) != [1]:
            await turns()


# -- sequences


async def test_a_producers_last_sequence_stays_known_when_its_records_are_gone(kit: Kit) -> None:
    log = await kit.log(**EAGER)
    log.append(view(numbered(7, 0, 3)), True)
    log.append(view(numbered(7, 3, 2)), True)
    put(kit, log, (b"k", b"v"))
    await compact(kit)
    assert await offsets(log) == [5]
    [empty, _] = await batches(log)
    assert (empty.base_offset, empty.last_offset, empty.record_count) == (3, 4, 0)
    assert (empty.producer_id, empty.base_sequence, empty.last_sequence) == (7, 3, 4)
    log.ready = False
    await log.open()
    assert log.append(view(numbered(7, 3, 2)), True).base_offset == 3, "known again"  # type: ignore[union-attr]
    log.append(view(numbered(7, 5, 1)), True)
    put(kit, log, (b"k", b"v"))
    await compact(kit)
    assert [batch.base_offset for batch in await batches(log)] == [6, 7], "what it wrote last is further on"


# -- beside others


async def test_a_trim_meanwhile_is_no_problem(kit: Kit) -> None:
    log = await kit.log(**EAGER)
    for number in range(2_000):
        put(kit, log, (b"%d" % (number % 10), b"v" * 200))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(compact, kit)
        for before in (500, 1_000, 1_500):
            await anyio.sleep(0.001)
            await log.trim(before)
    assert log.start == 1_500
    assert await offsets(log) == list(range(1_990, 2_000))


async def test_a_topic_deleted_meanwhile_is_no_problem(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    log = await kit.log(**EAGER)
    for number in range(2_000):
        put(kit, log, (b"%d" % (number % 10), b"v" * 200))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(compact, kit)
        await anyio.sleep(0.001)
        await kit.catalog.delete("t")
    assert not caplog.records


@pytest.mark.parametrize(
    ("count", "size", "codec", "in_thread"),
    [
        (2, 100, Codec.NONE, False),
        (2, 100, Codec.GZIP, False),
        (2, INLINE, Codec.NONE, True),
        (2, 4 * INLINE, Codec.GZIP, True),  # a few hundred bytes
        (MANY + 1, 1, Codec.NONE, True),
    ],
)
async def test_what_takes_long_leaves_the_event_loop(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, count: int, size: int, codec: Codec, in_thread: bool
) -> None:
    """A batch that is large, that inflates to much, or that has many records."""
    threads: set[int] = set()
    limited: list[object] = []

    def noted(*arguments: Any, **options: Any) -> Any:
        threads.add(threading.get_ident())
        return cleaned(*arguments, **options)

    async def in_a_thread(work: Callable[[], Any]) -> Any:
        limited.append(work)
        return await anyio.to_thread.run_sync(work)

    monkeypatch.setattr(compaction, "cleaned", noted)
    log = await kit.log(**EAGER)
    large = build_batch([(b"k%d" % number, bytes(size), NOW) for number in range(count)], codec=codec)
    await stored(log, large)
    put(kit, log, (b"k0", b"v"))
    monkeypatch.setattr(workers, "in_thread", in_a_thread)
    await compact(kit)
    assert await offsets(log) == list(range(1, count + 1))
    assert (threading.get_ident() in threads) is not in_thread
    assert len(limited) == (2 if in_thread else 0), "for its keys, and for what is left"


async def test_keys_that_do_not_fit_into_memory_are_left_for_the_next_pass(kit: Kit) -> None:
    log = await kit.log(**EAGER)
    for _ in range(3):
        for number in range(50):
            put(kit, log, (b"%d" % number, b"v"))
    small = Compaction(kit.store, None, kit.clock, lambda: kit.logs.logs, 1, 1 << 20, map_bytes=20 * 150)
    passes = 0
    while (await offsets(log)) != list(range(100, 150)):
        await small.check()
        passes += 1
        assert passes < 12
    assert passes > 3
    assert not LastOffsets(20 * 150).full


class KeepingStore(MemoryStore):
    """Keeps everything."""

    name = "keeping"

    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: object, epoch: int = 0
    ) -> bool:
        return False


async def test_a_store_that_keeps_everything_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    kit = await a_kit(KeepingStore())
    for name in ("one", "two"):
        log = await kit.log(name, **EAGER)
        put(kit, log, (b"a", b"1"))
        put(kit, log, (b"a", b"2"))
        put(kit, log, (b"a", b"3"))
    for _ in range(3):
        await compact(kit)
    assert await offsets(log) == [0, 1, 2]
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert (
        line == "storage keeping cannot replace records: topics with cleanup.policy=compact keep everything"
    )
    await kit.close()


async def test_a_log_that_cannot_be_looked_at_is_told_and_the_others_are_compacted(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = await kit.log("bad", **EAGER), await kit.log("good", **EAGER)
    for log in (bad, good):
        put(kit, log, (b"a", b"1"))
        put(kit, log, (b"a", b"2"))
    bounds = kit.store.bounds

    async def failing(tp: TopicPartition) -> Bounds:
        if tp == bad.tp:
            raise OSError("no")
        return await bounds(tp)

    monkeypatch.setattr(kit.store, "bounds", failing)
    with pytest.raises(PartlyFailed, match=r"1 partition\(s\), as bad-0: OSError"):
        await kit.logs.compaction.check()
    assert await offsets(good) == [1]


@pytest.mark.parametrize("problem", ["does not inflate", "half of it", "too large"])
async def test_a_batch_that_cannot_be_read_stays_and_stops_nothing(
    kit: Kit, caplog: pytest.LogCaptureFixture, problem: str
) -> None:
    """It is there from a time when nobody looked into it."""
    kit.change_logs(check_records="header")
    log = await kit.log(cleanup_policy="delete")
    put(kit, log, (b"a", b"1"))
    put(kit, log, (b"b", b"1"))
    if problem == "too large":
        kit.logs.compaction = Compaction(kit.store, None, kit.clock, lambda: kit.logs.logs, 1, 20_000)
        bad = build_batch([(b"a", bytes(50_000), NOW)], codec=Codec.ZSTD)
    elif problem == "half of it":  # the key that can be read must not take its last record away
        bad = build_batch([(b"a", b"2", NOW), (b"b", b"2", NOW)])
        bad[-3:] = b"\xff\xff\xff"
        bad = altered(bad)
    else:
        bad = altered(batch("v", key=b"a"), attributes=int(Codec.ZSTD))
    log.append(view(bad), True)
    after = log.high_watermark
    put(kit, log, (b"b", b"3"))
    put(kit, log, (b"c", b"1"))
    await kit.catalog.set_configs("t", {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"})
    for _ in range(2):
        put(kit, log, (b"d", b"1"))
        await compact(kit)
    assert [found.base_offset for found in await batches(log)] == [0, 2, after, after + 1, after + 3]
    assert caplog.text.count("cannot be read, so compaction leaves it") == 1
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("t-0: the batch at offset 2 cannot be read")


@pytest.mark.parametrize("before", [38, 39, 40])
async def test_what_retention_took_of_the_clean_part_does_not_count_as_clean(kit: Kit, before: int) -> None:
    """A large part that is clean, most or all of which goes: the little that comes after it is compacted."""
    log = await kit.log(cleanup_policy="compact,delete", min_cleanable_dirty_ratio="0.5")
    for number in range(41):
        put(kit, log, (b"k%d" % number, bytes(1000)))
    await compact(kit)
    await log.trim(before)
    for _ in range(8):
        put(kit, log, (b"k40", bytes(500)))
    await compact(kit)
    assert await offsets(log) == [*range(before, 40), 48]


# -- against a model

KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"a-longer-key-than-is-kept-as-it-is"])
VALUES = st.one_of(st.none(), st.binary(max_size=20))
APPEND = st.tuples(
    st.just("append"),
    st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=6),
    st.sampled_from([Codec.NONE, Codec.LZ4]),
    st.sampled_from([-1, 1, 2]),
)
STEPS = st.lists(
    st.one_of(
        APPEND,
        APPEND,
        st.tuples(st.just("compact")),
        st.tuples(st.just("wait"), st.sampled_from([1, 6, 11])),
        st.tuples(st.just("trim"), st.integers(0, 10)),
        st.tuples(st.just("reopen")),
    ),
    max_size=25,
)


class Model:
    """All that was ever appended, and what compaction may have taken of it."""

    def __init__(self) -> None:
        self.all: dict[int, Record] = {}
        self.last_batch = 0
        self.sequences: dict[int, int] = {}

    def check(self, log: PartitionLog, found: list[Record], now: int, *, compacted: bool) -> None:
        offsets = [record.offset for record in found]
        assert offsets == sorted(set(offsets))
        for record in found:
            assert record == self.all[record.offset]
        there = {record.offset for record in found if record.offset >= log.start}
        last = {record.key: offset for offset, record in self.all.items()}
        for key, offset in last.items():
            if offset >= log.start and self.all[offset].value is not None:
                assert offset in there, f"the last of {key!r} is gone"
        missing_tombstones = [o for o in last.values() if self.all[o].value is None and o not in there]
        for offset in missing_tombstones:
            if offset >= log.start:
                assert now > self.all[offset].timestamp + 10_000
        if compacted:
            superseded = [o for o in there if o < self.last_batch and last[self.all[o].key] != o]
            assert not superseded, f"{superseded} should be gone"


ONE: list[tuple[bytes, bytes | None]] = [(b"a", None)]
LONG: list[tuple[bytes, bytes | None]] = [(b"b", None), (b"a-longer-key-than-is-kept-as-it-is", None)]


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
@example(  # what is gone by a trim was taken for clean
    steps=[
        ("append", LONG, Codec.NONE, -1),
        ("append", ONE, Codec.NONE, -1),
        ("compact",),
        ("trim", 3),
        ("append", ONE, Codec.NONE, -1),
        ("append", ONE, Codec.NONE, -1),
        ("compact",),
    ]
)
async def test_compaction_against_a_model(steps: list[tuple[object, ...]]) -> None:
    kit = await a_kit()
    log = await kit.log(**EAGER)
    model = Model()
    for kind, *arguments in steps:
        if kind == "append":
            pairs, codec, producer = arguments
            options = {}
            if producer > 0:
                sequence = model.sequences.get(producer, 0)
                options = {"producer_id": producer, "producer_epoch": 0, "base_sequence": sequence}
                model.sequences[producer] = sequence + len(pairs)
            model.last_batch = base = log.high_watermark
            time = kit.clock.time_ms()
            put(kit, log, *pairs, codec=codec, **options)
            for n, (key, value) in enumerate(pairs):
                model.all[base + n] = Record(key, value, time + n, [("of", key)], base + n)
        elif kind == "wait":
            await kit.clock.advance(arguments[0])
        elif kind == "trim":
            await log.trim(min(log.high_watermark, log.start + arguments[0]))
        elif kind == "reopen":
            log.ready = False
            await log.open()
        else:
            await compact(kit)
        model.check(log, await kept(log), kit.clock.time_ms(), compacted=kind == "compact")
    log.ready = False
    await log.open()
    known = {producer_id: state.last_sequence for producer_id, state in log.producers}
    for producer, following in model.sequences.items():
        assert known.get(producer, following - 1) == following - 1
        if log.start == 0:
            assert producer in known
    await kit.close()


# -- a store that is not immediate


class LateState(MemoryStateStore):
    """``before`` happens while a value is on its way."""

    async def before(self) -> None: ...

    async def commit(self, changes: Mapping[bytes, bytes | None], **options: Any) -> int:
        if any(changes.values()):
            await self.before()
        return await super().commit(changes, **options)


class Deleting(MemoryStore):
    """Has lost the topic when it has replaced something."""

    async def lose(self) -> None: ...

    async def replace(self, *arguments: Any) -> bool:
        replaced = await super().replace(*arguments)
        await self.lose()
        return replaced


@pytest.mark.parametrize("when", ["cleaning", "keeping", "never"])
async def test_a_topic_that_is_deleted_meanwhile_leaves_no_progress(when: str) -> None:
    store, state = Deleting(), LateState()
    kit = await a_kit(store)
    log = await kit.log(**EAGER)
    for value in (b"1", b"2"):
        put(kit, log, (b"a", value))

    async def delete() -> None:
        await kit.catalog.delete("t")

    if when == "cleaning":
        store.lose = delete  # type: ignore[method-assign]
    elif when == "keeping":
        state.before = delete  # type: ignore[method-assign]
    kept = Checkpoints(state, (compaction.key,), Background(kit.clock, kit.spawn))
    await Compaction(store, kept, kit.clock, lambda: kit.logs.logs, 1, 1 << 20).check()
    await turns()
    assert log.topic.deleted is (when != "never")
    assert (await state.get(compaction.key(log.tp)) is not None) is (when == "never")
    await kit.close()


async def test_a_store_that_waits_is_compacted_too() -> None:
    kit = await a_kit(SlowStore())
    assert isinstance(kit.store, SlowStore)
    kit.store.patient = False
    kit.start_writers()
    log = await kit.log(**EAGER)
    for value in (b"1", b"2", b"3"):
        put(kit, log, (b"a", value))
        await anyio.lowlevel.checkpoint()
    while log.high_watermark < 3:
        await anyio.lowlevel.checkpoint()
    await compact(kit)
    assert await offsets(log) == [2]
    await kit.close()


async def stored(log: PartitionLog, data: bytearray) -> Appended:
    """The outcome of an append to a store that waits."""
    outcome = log.append(view(data), True)
    if isinstance(outcome, Pending):
        with anyio.fail_after(5):
            await outcome.wait()
    return done(outcome)


class Pass(Compaction):
    """A pass in whose midst, when the keys are known, ``between`` happens."""

    between: Callable[[], Awaitable[None]]

    async def _map(self, log: PartitionLog, offset: int, unchecked: int, configs: TopicConfigs) -> Mapped:
        mapped = await super()._map(log, offset, unchecked, configs)
        await self.between()
        return mapped


def a_pass(kit: Kit, between: Callable[[], Awaitable[None]]) -> Pass:
    found = Pass(kit.store, None, kit.clock, lambda: kit.logs.logs, 1, 1 << 20)
    found.between = between
    return found


async def test_an_append_that_fails_meanwhile_costs_no_producer_its_sequence(
    slow: Kit, store: SlowStore
) -> None:
    """Such an append closes the log, and a closed log knows no producers."""
    store.patient = False
    log = await slow.log(**EAGER)
    for data in (numbered(7, 0), batch("1"), batch("2")):
        await stored(log, data)

    async def fails() -> None:
        store.patient = True
        failing = waiting(log.append(view(batch("3")), True))
        (await store.arrived()).fail(OSError("full"))
        await turns()
        assert failing.done
        assert not log.ready
        store.patient = False

    await a_pass(slow, fails).check()
    assert await offsets(log) == [2]
    assert [found.producer_id for found in await batches(log)] == [7, -1]
    log.ready = False
    assert await stored(log, numbered(7, 0)) == Appended(0), "known again"


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("under_way", [1, 5, 6])
async def test_what_a_producer_has_under_way_does_not_stand_for_what_it_has_written(
    slow: Kit, store: SlowStore, under_way: int, epoch: int
) -> None:
    """It may fail. Five of them are all that is remembered of the producer, a new epoch is so at once."""
    store.patient = False
    log = await slow.log(**EAGER)
    for data in (numbered(7, 0), batch("1"), batch("2")):
        await stored(log, data)

    async def sends() -> None:
        store.patient = True
        for number in range(under_way):
            log.append(view(numbered(7, number + (epoch == 0), epoch=epoch)), True)
        await store.arrived()

    await a_pass(slow, sends).check()
    store.held[0].fail(OSError("full"))
    await turns()
    store.patient = False
    assert await stored(log, numbered(7, 0)) == Appended(0), "known again"
