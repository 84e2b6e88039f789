"""Requests leave no garbage: no objects that only CPython's collector frees, as they refer to each other.

Each of its looks holds the event loop. Until then such a cycle keeps all that it reaches: a Fetch keeps its
request, its answer, and the records in it.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from broker_kit import Kit, Peer, SlowStore, a_client, a_frame, a_kit, a_server, batch, numbered, turns, view
from requests_kit import NAMES, requests

from kgw_core.errors import Unanswerable, forget_frames
from kgw_core.pending import Pending
from kgw_core.wire.messages.delete_groups import DeleteGroupsRequest
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

pytestmark = pytest.mark.anyio


@contextmanager
def no_garbage() -> Iterator[None]:
    """Objects that become unreachable in the block are freed without the collector."""
    gc.collect()
    gc.disable()
    gc.garbage.clear()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        ours = any(_is_ours(each) for each in gc.garbage)
        found = Counter(type(each).__qualname__ for each in gc.garbage if ours)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not found, f"only the garbage collector frees these: {dict(found)}"


def _is_ours(thing: object) -> bool:
    """Whether it is of kgw's code: what other tests have left behind in threads of theirs does not count."""
    places = (getattr(thing, "__module__", None), getattr(type(thing), "__module__", None))
    return any(isinstance(place, str) and place.startswith("kgw_") for place in places)


def produce(data: bytes | bytearray, acks: int = -1) -> ProduceRequest:
    part = PartitionProduceData(0, bytes(data))
    return ProduceRequest(None, acks, 1000, [TopicProduceData("t", partition_data=[part])])


def fetch(offset: int = 0, wait_ms: int = 0, session: int = 0, epoch: int = -1) -> FetchRequest:
    part = FetchPartition(0, fetch_offset=offset, partition_max_bytes=1 << 20)
    return FetchRequest(
        max_wait_ms=wait_ms,
        min_bytes=1,
        max_bytes=1 << 20,
        session_id=session,
        session_epoch=epoch,
        topics=[FetchTopic("t", partitions=[part])],
    )


@pytest.mark.parametrize("how", ["an append", "time", "the client going away"])
async def test_a_long_poll(kit: Kit, how: str) -> None:
    await kit.log("t")
    with no_garbage():
        for offset in range(3):
            answer = kit.start(fetch(offset, wait_ms=500), 12)
            assert isinstance(answer, Pending)
            if how == "time":
                await kit.clock.advance(1000)
            elif how == "the client going away":
                answer.abandon()
            await kit.ask(produce(batch()), 9)
            await turns()
            assert answer.done == (how != "the client going away")
            del answer


async def test_what_a_slow_store_makes_wait() -> None:
    store = SlowStore()
    kit = await a_kit(store)
    await kit.log("t")
    kit.start_writers()
    with no_garbage():
        for sequence in range(3):
            answers = [kit.start(produce(numbered(1, sequence)), 9), kit.start(produce(batch(), acks=0), 9)]
            answers.append(kit.start(fetch(2 * sequence, wait_ms=500), 12))
            assert all(isinstance(answer, Pending) for answer in answers)
            (await store.arrived()).release()
            await turns()
            assert all(isinstance(answer, Pending) and answer.done for answer in answers)
            answers.clear()
    await kit.close()


async def test_a_request_that_ends_its_connection(kit: Kit) -> None:
    server = a_server(kit.dispatcher)
    frames = [kit.frame(produce(b"no batch", acks=0), 9), a_frame(3, 99, 1, b""), b""]
    with no_garbage():
        for frame in frames:
            peer = Peer(server)
            peer.send(frame)
            assert peer.transport.closed
            await turns()
            del peer


@pytest.mark.parametrize("name", NAMES)
async def test_every_api(name: str) -> None:
    kit = await a_kit(auto_create=True)
    await kit.log("t")

    async def ask_all() -> None:
        for row in requests(name):
            client = a_client()
            frame = a_frame(row.api.key, row.version, 7, row.body)
            try:
                answer = kit.dispatcher.start(memoryview(frame), client, True)
                if isinstance(answer, Pending):
                    await kit.clock.advance(2**31)
                    answer = await answer.wait()
            except Unanswerable as error:
                forget_frames(error)  # as the connection does that it ends
        await turns()

    await ask_all()
    with no_garbage():
        await ask_all()
    await kit.close()


async def used(kit: Kit) -> None:
    """A topic is made, written to (also by an idempotent producer), read, waited for, trimmed and deleted."""
    for name in ("one", "other"):
        topic = await kit.topic(name, partitions=2)
        for log in topic.partitions:
            await log.open()
            log.append(view(batch("a")), False)
            log.append(view(numbered(1, 0)), False)
            assert log.read_now(0, 1000)
            await log.trim(1)
    request = fetch(2, wait_ms=500, epoch=0)
    request.topics[0].topic = "one"
    request.topics[0].partitions[0].fetch_offset = 2
    waits = kit.start(request, 12)
    assert isinstance(waits, Pending)
    await kit.ask(commit("one"), 7)
    for name in ("one", "other"):
        await kit.catalog.delete(name)
    await turns()
    assert waits.done
    for session in list(kit.broker.fetch_sessions._sessions):
        kit.broker.fetch_sessions.close(session)
    await kit.ask(DeleteGroupsRequest(["g"]), 1)


def commit(topic: str) -> OffsetCommitRequest:
    part = OffsetCommitRequestPartition(0, committed_offset=1, committed_metadata="")
    return OffsetCommitRequest("g", topics=[OffsetCommitRequestTopic(topic, partitions=[part])])


async def test_a_topic_and_a_group_that_are_deleted(kit: Kit) -> None:
    """Long-lived objects are frozen, so a cycle of them would never be freed."""
    await used(kit)
    with no_garbage():
        await used(kit)
