"""Appends: all or nothing, at the end or not at all, and the bytes as they came."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from kgw_core.errors import KafkaError, UnknownTopicOrPartition
from kgw_core.records import HEADER, Codec
from kgw_core.records.batch import CODEC_MASK, LOG_APPEND_TIME
from kgw_core.spi.storage import Append, Batch, Buffer, OffsetConflict, TopicPartition
from kgw_core.testing.batches import make_batch, stored_batches
from kgw_core.testing.log_store.base import Bench, Failing, SuiteBase, last, only


class Appends(SuiteBase):
    """Promises 5, 6, 7, 12 and 13."""

    async def test_what_is_appended_is_read_again(self, bench: Bench) -> None:
        """Batches of one and of many records, in the order they came, at their offsets."""
        tp = await bench.log()
        written = await bench.fill(tp, [1, 5, 1, 30, 2])
        assert await bench.ends(tp) == (0, 39)
        await bench.expect(tp, written)

    @only("preserves_batches", "not numbers_records")
    async def test_batches_come_back_byte_for_byte(self, bench: Bench) -> None:
        """Compressed, transactional, control and emptied batches too: a store does not look inside."""
        tp = await bench.log()
        options: list[dict[str, Any]] = [
            {"codec": Codec.GZIP},
            {"producer_id": 7, "producer_epoch": 1, "base_sequence": 5, "transactional": True},
            {"producer_id": 7, "producer_epoch": 1, "transactional": True, "control": True},
            {"log_append_time": 12_345},
        ]
        written: list[Batch] = []
        for base, option in enumerate(options):
            batch = make_batch(base, **option)
            stamped = bytes(batch.data[:12]) + (70 + base).to_bytes(4, "big") + bytes(batch.data[16:])
            batch = batch._replace(data=stamped)
            written.append(batch)
            await bench.store.append(tp, [batch])
        await bench.expect(tp, written)

    async def test_what_headers_say_of_records_and_producers_survives(self, bench: Bench) -> None:
        """Also if the store keeps records in a form of its own: producers are recovered from it."""
        tp = await bench.log()
        options: list[dict[str, Any]] = [
            {"codec": Codec.GZIP, "size": 500},
            {"producer_id": 7, "producer_epoch": 1, "base_sequence": 5, "transactional": True},
            {"producer_id": 1 << 40, "producer_epoch": 32_767, "base_sequence": 2_147_483_646},
            {"log_append_time": 12_345},
        ]
        written = []
        for base, option in enumerate(options):
            await bench.store.append(tp, [bench.make(2 * base, 2, **option)])
            written.append(make_batch(2 * base, 2, **option).data)
        found = [data for _, _, data in stored_batches(await bench.read_all(tp))]
        assert [_survives(data) for data in found] == [_survives(data) for data in written]

    async def test_several_batches_are_one_append(self, bench: Bench) -> None:
        """Each one's base offset is returned, all are there, and the log goes on after the last."""
        tp = await bench.log()
        batches = [make_batch(0, 2), make_batch(2, 1), make_batch(3, 4)]
        plain = [bench.make(b.base_offset, b.span) for b in batches]
        assert list(await bench.store.append(tp, plain)) == [0, 2, 3]
        more = [make_batch(7, 1), make_batch(8, 1)]
        assert list(await bench.store.append(tp, [bench.make(b.base_offset) for b in more])) == [7, 8]
        assert await bench.ends(tp) == (0, 9)
        await bench.expect(tp, [*batches, *more])

    @only("not numbers_records")
    @pytest.mark.parametrize("base", [0, 3, 5, 100])
    async def test_an_append_that_is_not_at_the_end_writes_nothing(self, bench: Bench, base: int) -> None:
        """OffsetConflict names both offsets; the log is as it was and goes on at its true end."""
        tp = await bench.log()
        written = await bench.fill(tp, [2, 2])
        with pytest.raises(OffsetConflict) as conflict:
            await bench.store.append(tp, [make_batch(base, tag="late"), make_batch(base + 1, tag="late")])
        assert (conflict.value.expected, conflict.value.end) == (base, 4)
        assert await bench.ends(tp) == (0, 4)
        await bench.expect(tp, written + await bench.fill(tp, [1]))

    async def test_a_batch_of_megabytes_is_stored(self, bench: Bench) -> None:
        """1.1 MB and 3 MB, with small ones around them."""
        tp = await bench.log()
        written = await bench.fill(tp, [1])
        for size in (1_100_000, 3_000_000):
            written += await bench.fill(tp, [1], size=size)
            written += await bench.fill(tp, [1, 1])
        assert len(written[1].data) > 1 << 20
        await bench.expect(tp, written)

    async def test_bytes_may_change_after_an_append_unless_they_are_stable(self, bench: Bench) -> None:
        """The core overwrites the bytes later; the store has copied them, so the log stays as it is."""
        tp = await bench.log()
        written: list[Batch] = []
        for base, size in enumerate((100, 5_000, 200_000)):
            written.append(make_batch(base, size=size))
            batch = bench.make(base, size=size)
            frame = bytearray(batch.data)
            await bench.store.append(tp, [batch._replace(data=memoryview(frame))])
            frame[:] = bytes(len(frame))
        await bench.expect(tp, written)

    async def test_data_may_be_a_view_of_a_larger_frame(self, bench: Bench) -> None:
        """Stable or not, small or large, writable or not: only the batch itself is stored."""
        tp = await bench.log()
        written = []
        for base, size in enumerate((100, 5_000, 40_000, 100_000)):
            written.append(make_batch(base, size=size))
            batch = bench.make(base, size=size)
            frame = b"before" + bytes(batch.data) + b"after" * 10
            data = memoryview(bytearray(frame) if base % 2 else frame)[6 : 6 + len(batch.data)]
            await bench.store.append(tp, [batch._replace(data=data, stable=True)])
        await bench.expect(tp, written)

    async def test_append_many_gives_each_log_its_own_result(self, bench: Bench) -> None:
        """In order; one that fails does not keep the others from being written."""
        tps = await bench.topic(4)
        unknown = TopicPartition("orders", tps[0].topic_id, 9)
        await bench.fill(tps[1], [3])
        results = await bench.store.append_many(
            [
                Append(tps[0], [bench.make(0, 2)]),
                Append(unknown, [bench.make(0)]),
                Append(tps[1], [bench.make(3, 1), bench.make(4, 1)]),
                Append(tps[2], [bench.make(0)]),
            ]
        )
        assert isinstance(results[1], UnknownTopicOrPartition)
        assert [list(r) for r in results if not isinstance(r, Exception)] == [[0], [3, 4], [0]]
        assert [await bench.ends(tp) for tp in tps] == [(0, 2), (0, 5), (0, 1), (0, 0)]
        assert await bench.store.append_many([]) == []
        [only_one] = await bench.store.append_many([Append(unknown, [bench.make(0)])])
        assert isinstance(only_one, UnknownTopicOrPartition)

    @only("not numbers_records")
    async def test_a_conflict_in_append_many_is_that_logs_own(self, bench: Bench) -> None:
        """The others are written, the one in conflict is not."""
        tps = await bench.topic(3)
        results = await bench.store.append_many(
            [
                Append(tp, [make_batch(base), make_batch(base + 1)])
                for tp, base in zip(tps, (0, 5, 0), strict=True)
            ]
        )
        assert isinstance(results[1], OffsetConflict) and results[1].end == 0
        assert [results[0], results[2]] == [[0, 1], [0, 1]]
        assert [await bench.ends(tp) for tp in tps] == [(0, 2), (0, 0), (0, 2)]

    @only("immediate")
    async def test_append_now_is_append_without_waiting(self, bench: Bench) -> None:
        """It raises the same errors as append."""
        tp = await bench.log()
        written = [make_batch(0, 2), make_batch(2, 1), make_batch(3, 1)]
        bench.store.append_now(tp, [bench.make(0, 2), bench.make(2, 1)])
        bench.store.append_now(tp, [bench.make(3, 1)])
        if not bench.capabilities.numbers_records:
            with pytest.raises(OffsetConflict) as conflict:
                bench.store.append_now(tp, [make_batch(7)])
            assert (conflict.value.expected, conflict.value.end) == (7, 4)
        await bench.expect(tp, written)

    async def test_an_append_that_fails_leaves_all_or_nothing(
        self, bench: Bench, failing: Failing | None
    ) -> None:
        """Bounds and batches agree, nothing is torn, and the log goes on at its end."""
        if failing is None:
            pytest.skip("needs the fixture `failing`, which makes appends fail")
        tp = await bench.log()
        written = await bench.fill(tp, [2, 2])
        batches = [make_batch(base, tag="failed") for base in (4, 5, 6)]
        with failing(), pytest.raises(Exception) as failure:
            await bench.store.append(tp, [bench.make(b.base_offset, tag="failed") for b in batches])
        _, end = await bench.ends(tp)
        if isinstance(failure.value, KafkaError) or end == 4:
            assert end == 4, "a KafkaError says that nothing was written"
        else:
            assert end == 7, "part of a failed append is there"
            written += batches
        await bench.expect(tp, written)
        written.append(make_batch(end, tag="next"))
        assert list(await bench.store.append(tp, [bench.make(end, tag="next")])) == [end]
        assert last(written[-1]) == end
        await bench.expect(tp, written)
        if bench.capabilities.durable:
            await bench.reopen()
            await bench.expect(tp, written)
            assert len(stored_batches(await bench.read_all(tp))) == len(written)

    async def test_an_append_that_has_raised_lands_no_more(
        self, bench: Bench, failing: Failing | None
    ) -> None:
        """The log holds the same batches just after the failure and :attr:`late_seconds` later."""
        if failing is None:
            pytest.skip("needs the fixture `failing`, which makes appends fail")
        tp = await bench.log()
        await bench.fill(tp, [1])
        with failing(), pytest.raises(Exception) as failure:
            await bench.store.append(tp, [bench.make(base, tag="failed") for base in (1, 2)])
        ends = await bench.ends(tp)
        with anyio.move_on_after(self.late_seconds):
            while True:
                assert await bench.ends(tp) == ends, f"it landed after it had raised {failure.value!r}"
                await anyio.sleep(0.01)


def _survives(data: Buffer) -> tuple[int, ...]:
    """What promise 8 has a store keep of a header."""
    fields: tuple[int, ...] = HEADER.unpack_from(data)
    base_offset, _, _, magic, _, attributes, last_delta, base_time, *rest = fields
    if attributes & LOG_APPEND_TIME:
        base_time = 0  # of times that do not count
    return (base_offset, magic, attributes & ~CODEC_MASK, last_delta, base_time, *rest)
