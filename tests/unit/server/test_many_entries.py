"""Requests about very many partitions: handled in steps, and answered as if they were handled at once."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from broker_kit import Kit, Peer, SlowStore, a_kit, a_server, batch, framed, turns, view

from kgw_core.api import fetch_full, fetch_incremental, list_offsets, offset_commit, offset_fetch, produce
from kgw_core.config import Limits
from kgw_core.pending import Pending
from kgw_core.spi.storage import LogStore
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from kgw_core.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from kgw_core.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchRequestTopic
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

pytestmark = pytest.mark.anyio

COUNT = 3000
"""Partitions of topic "t". "u" has one, and "v" is not there."""
SOME = range(-1, COUNT + 2)
"""Those of "t", and some that are not there."""


def fetch(offset: int = 0, wait_ms: int = 0, session: int = 0, epoch: int = -1, **more: Any) -> FetchRequest:
    topics = [
        FetchTopic("t", partitions=[FetchPartition(at, fetch_offset=offset) for at in SOME]),
        FetchTopic("v", partitions=[FetchPartition(0)]),
        FetchTopic("u", partitions=[FetchPartition(0), FetchPartition(0, fetch_offset=1)]),
        FetchTopic("t", partitions=[FetchPartition(5, fetch_offset=1)]),
    ]
    for topic in topics:
        for part in topic.partitions:
            part.partition_max_bytes = 1 << 20
    return FetchRequest(
        max_wait_ms=wait_ms,
        min_bytes=1,
        max_bytes=more.pop("max_bytes", 50 << 20),
        session_id=session,
        session_epoch=epoch,
        topics=more.pop("topics", topics),
    )


def offsets() -> ListOffsetsRequest:
    topics = []
    for name, indexes in (("t", SOME), ("u", [0, 0]), ("v", [1])):
        asked = [ListOffsetsPartition(at, timestamp=-1 - at % 3) for at in indexes]
        topics.append(ListOffsetsTopic(name, asked))
    return ListOffsetsRequest(-1, topics=topics)


def commit() -> OffsetCommitRequest:
    topics = []
    for name, indexes in (("t", SOME), ("u", [0]), ("v", [1])):
        parts = [
            OffsetCommitRequestPartition(at, committed_offset=at % 7, committed_metadata="x" * (at % 5000))
            for at in indexes
        ]
        topics.append(OffsetCommitRequestTopic(name, partitions=parts))
    return OffsetCommitRequest("g", topics=topics)


def committed(*names: str) -> OffsetFetchRequest:
    return OffsetFetchRequest("g", [OffsetFetchRequestTopic(name, list(SOME)) for name in names] or None)


def produced(acks: int = -1) -> ProduceRequest:
    data = bytes(batch("a"))
    parts = [PartitionProduceData(at, data if at % 100 else b"no batch") for at in SOME]
    topics = [TopicProduceData("v", partition_data=[PartitionProduceData(0, data)])]
    topics.append(TopicProduceData("t", partition_data=parts))
    return ProduceRequest(None, acks, 30_000, topics)


@pytest.fixture(params=["in steps", "at once"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "at once":
        for module in (list_offsets, offset_commit, offset_fetch, produce):
            monkeypatch.setattr(module, "MANY", 1 << 30)
        for fetching in (fetch_full, fetch_incremental):
            monkeypatch.setattr(fetching, "PARTS", 1 << 30)
    return bool(request.param == "in steps")


answers: dict[str, list[Any]] = {}
"""The answers by case: first in steps, then at once."""


async def a_large_kit(store: LogStore | None = None) -> Kit:
    kit = await a_kit(store, limits=Limits())
    await kit.topic("t", COUNT)
    await kit.topic("u", 1)
    return kit


class Turns:
    """How often others had their turn in the block."""

    count = 0
    _over = False

    def __enter__(self) -> Turns:
        self._tick()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True

    def _tick(self) -> None:
        if not self._over:
            self.count += 1
            asyncio.get_running_loop().call_soon(self._tick)


def same(case: str, found: list[Any]) -> None:
    assert answers.setdefault(case, found) == found, f"{case}: in steps and at once"


async def test_produce_fetch_offsets_and_commits(steps: bool) -> None:
    kit = await a_large_kit()
    found = [await kit.ask(produced(), 9), await kit.ask(produced(), 2 + 7)]
    for request, version in (
        (fetch(), 11),
        (fetch(1), 11),
        (fetch(1, max_bytes=10_000), 12),
        (fetch(9), 11),
        (offsets(), 5),
        (offsets(), 7),
        (commit(), 7),
        (committed("t", "u", "v"), 5),
        (committed(), 5),
    ):
        with Turns() as others:
            found.append(await kit.ask(request, version))
        assert not steps or others.count >= 6, type(request).__name__
    same("all", found)
    await kit.close()


async def test_a_session(steps: bool) -> None:
    kit = await a_large_kit()
    await kit.ask(produced(), 9)
    begun = await kit.ask(fetch(1, epoch=0), 12)
    session = begun.session_id
    begun.session_id = 0
    assert session
    more = [fetch(0, session=session, epoch=epoch, topics=[]) for epoch in (1, 2, 3)]
    found = [begun, await kit.ask(more[0], 12), await kit.ask(more[1], 12)]
    await kit.ask(produced(), 9)
    found.append(await kit.ask(more[2], 12))
    for response in found[1:]:
        response.session_id = 0
    same("session", found)
    await kit.close()


async def test_a_produce_to_a_slow_store_is_stored_in_waves(steps: bool) -> None:
    store = SlowStore()
    kit = await a_large_kit(store)
    kit.start_writers(1)
    store.patient = False
    found = [await kit.ask(produced(), 9)]
    assert await kit.ask(produced(acks=1), 9) != found[0]
    same("slow", found)
    await kit.close()


async def test_a_poll_of_very_many_is_woken_by_one_append() -> None:
    kit = await a_large_kit()
    await kit.ask(produced(), 9)
    asked = [
        FetchPartition(at, fetch_offset=int(at % 100 > 0), partition_max_bytes=1000) for at in range(COUNT)
    ]
    topics = [FetchTopic("t", partitions=asked)]
    answer = kit.start(fetch(wait_ms=1000, topics=topics), 12)
    assert isinstance(answer, Pending)
    await turns(200)
    assert not answer.done
    (await kit.log("t", 7)).append(view(batch("b")), False)
    with anyio.fail_after(20):
        response = kit.decode(await answer.wait(), fetch(), 12)
    assert [part.partition_index for part in response.responses[0].partitions if part.records] == [7]
    await kit.close()


async def test_a_wave_that_is_not_stored_in_time_is_told() -> None:
    store = SlowStore()
    kit = await a_large_kit(store)
    kit.start_writers(1)
    waits = kit.start(produced(), 9)
    assert isinstance(waits, Pending)
    while not waits.done:
        await turns(200)
        await kit.clock.advance(31)
    response = kit.decode(waits.result(), produced(), 9)
    codes = {part.error_code for topic in response.responses for part in topic.partition_responses}
    assert codes == {3, 7, 87}, "unknown, timed out, invalid"
    for held in store.held:
        held.release()
    await turns(200)
    await kit.close()


async def test_nothing_of_a_connection_overtakes_a_produce_in_steps() -> None:
    kit = await a_large_kit()
    peer = Peer(a_server(kit.dispatcher, kit.config.limits))
    last = ProduceRequest(
        None,
        1,
        30_000,
        [TopicProduceData("t", partition_data=[PartitionProduceData(COUNT - 1, bytes(batch("last")))])],
    )
    peer.feed(framed(kit.frame(produced(), 9)) + framed(kit.frame(last, 9)) + framed(kit.frame(fetch(), 11)))
    with anyio.fail_after(20):
        while len(peer.answered) < 3:
            await turns()
    assert peer.answered == [1, 2, 3]
    log = kit.catalog.by_name["t"].partitions[COUNT - 1]
    assert log.high_watermark == 2
    await kit.close()
