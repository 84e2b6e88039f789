"""A store that keeps records in a form of its own, and makes batches of them again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from broker_kit import Kit, a_kit, numbered, turns, values_of, view
from kgw_storage_memory.store import MemoryStore

from kgw_core.log.producers import Appended
from kgw_core.records import Codec, build_batch, iter_batches, iter_records
from kgw_core.spi.storage import Capabilities, LogStore, Run, Topic, TopicPartition
from kgw_core.testing import LogStoreSuite


class ReencodingStore(MemoryStore):
    """Read batches are compressed anew: their header fields are the same, and their bytes differ."""

    name = "reencoding"

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return replace(super().capabilities(topic), preserves_batches=False)

    def read_now(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        runs = []
        for run in super().read_now(tp, offset, max_bytes, below):
            for batch in iter_batches(run.data):
                data = build_batch(
                    [
                        (record.key, record.value, record.timestamp, record.headers)
                        for record in iter_records(batch)
                    ],
                    codec=Codec.ZSTD,
                    base_offset=batch.base_offset,
                    producer_id=batch.producer_id,
                    producer_epoch=batch.producer_epoch,
                    base_sequence=batch.base_sequence,
                    transactional=batch.is_transactional,
                    control=batch.is_control,
                    log_append_time=batch.max_timestamp if batch.log_append_time else None,
                )
                runs.append(Run(batch.base_offset, batch.next_offset, data))
        return runs


class TestReencodingStore(LogStoreSuite):
    @pytest.fixture
    def store(self) -> LogStore:
        return ReencodingStore()


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    made = await a_kit(ReencodingStore())
    yield made
    await made.close()


@pytest.mark.anyio
async def test_producers_are_recovered_from_it(kit: Kit) -> None:
    log = await kit.log()
    assert log.append(view(numbered(7, 0, 3)), False) == Appended(0)
    kit.events.lost(log.tp, -1)
    await log.open()
    await turns()
    assert log.append(view(numbered(7, 0, 3)), False) == Appended(0)
    assert log.append(view(numbered(7, 3)), False) == Appended(3)
    assert values_of(await log.read(0, 1 << 20)) == [b"v0", b"v1", b"v2", b"v3"]
