"""Requests that are larger than may be: refused with an answer, in its turn, and nothing of them is kept."""

from __future__ import annotations

import logging
import tracemalloc

import pytest
from broker_kit import Kit, Peer, SlowStore, a_kit, a_server, batch, framed, turns

from kgw_core import wire
from kgw_core.api import registry
from kgw_core.api.produce_oversized import MOST_PARTITIONS
from kgw_core.config import Limits
from kgw_core.errors import error_name
from kgw_core.server.oversized import HEAD
from kgw_core.wire.base import Message
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.metadata import MetadataRequest
from kgw_core.wire.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from kgw_core.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment

pytestmark = pytest.mark.anyio

MOST = 100_000
LIMITS = Limits(max_request_size=MOST, max_in_flight_bytes=MOST, max_topics=100, max_partitions=1_000)
PIECES = (1 << 30, 4096, 7)
TOO_LARGE = bytes(batch("x" * MOST))


def peer_of(kit: Kit) -> Peer:
    return Peer(a_server(kit.dispatcher, LIMITS))


def produce(kit: Kit, data: bytes, version: int = 9, acks: int = -1, *indexes: int) -> ProduceRequest:
    parts = [PartitionProduceData(index, data) for index in indexes or (3,)]
    topic = TopicProduceData("t", kit.catalog.by_name["t"].id_bytes, partition_data=parts)
    return ProduceRequest("me" if version >= 3 else None, acks, 30_000, [topic])


def frame(kit: Kit, request: Message, version: int, client_id: str | None = "tester") -> bytes:
    return bytes(kit.frame(request, version, client_id=client_id))


def answers(peer: Peer, *asked: tuple[Message, int]) -> list[object]:
    """The answers that have left, decoded as those to ``asked``."""
    data, found = bytes(peer.transport.sent), []
    for request, version in asked:
        size = 4 + int.from_bytes(data[:4], "big")
        assert request.API_KEY is not None
        head = 8 + wire.response_header_version(request.API_KEY, version)
        response = wire.message(wire.index.APIS[request.API_KEY].response)
        found.append(wire.decode(response, version, data[head:size]))
        data = data[size:]
    assert not data
    return found


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("version", range(14))
async def test_a_producer_is_told_which_batch_is_too_large(
    kit: Kit, version: int, piece: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kgw")
    await kit.topic("t", 4)
    peer = peer_of(kit)
    request, small = produce(kit, TOO_LARGE, version), produce(kit, bytes(batch("a")), version)
    small.transactional_id = None
    if version < 3:
        request.transactional_id = None
    if version >= 3:
        peer.feed(framed(frame(kit, request, version)) + framed(frame(kit, small, version)), piece)
        await turns()
        refused, taken = answers(peer, (request, version), (small, version))
        assert code_of(taken) == "NONE", "what comes after it is as always"
    else:
        peer.feed(framed(frame(kit, request, version)), piece)
        (refused,) = answers(peer, (request, version))
    assert code_of(refused) == "MESSAGE_TOO_LARGE"
    assert "limits.max_request_size" in caplog.text
    assert not peer.transport.closed


def code_of(response: object) -> str:
    assert isinstance(response, ProduceResponse)
    (topic,) = response.responses
    (part,) = topic.partition_responses
    assert part.index == 3
    return error_name(part.error_code)


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("version", [2, 3, 8, 9, 12, 13])
async def test_all_partitions_of_all_topics_are_told(kit: Kit, version: int, piece: int) -> None:
    """The Java client waits two minutes for one that is not, and fails it as if it might be stored."""
    await kit.topic("t", 4)
    await kit.topic("u", 2)
    topics = [
        TopicProduceData(
            name,
            kit.catalog.by_name[name].id_bytes,
            [PartitionProduceData(at, bytes(batch("x" * 40_000))) for at in range(count)],
        )
        for name, count in (("t", 4), ("u", 2))
    ]
    topics[1].partition_data[0].records = None
    request = ProduceRequest(None, -1, 30_000, topics)
    peer = peer_of(kit)
    peer.feed(framed(frame(kit, request, version)), piece)
    (answer,) = answers(peer, (request, version))
    assert isinstance(answer, ProduceResponse)
    told = [
        (topic.name or topic.topic_id, part.index, error_name(part.error_code))
        for topic in answer.responses
        for part in topic.partition_responses
    ]
    names = [data.topic_id if version >= 13 else data.name for data in topics]
    assert told == [
        (name, part.index, "MESSAGE_TOO_LARGE")
        for name, data in zip(names, topics, strict=True)
        for part in data.partition_data
    ]


@pytest.mark.parametrize("count", [MOST_PARTITIONS, MOST_PARTITIONS + 1])
async def test_one_of_very_many_partitions_ends_the_connection(kit: Kit, count: int) -> None:
    await kit.topic("t", 4)
    peer = peer_of(kit)
    request = produce(kit, bytes(batch("x" * 100)), 9, -1, *range(count))
    peer.feed(framed(frame(kit, request, 9)), 5000)
    assert peer.transport.closed == (count > MOST_PARTITIONS)
    if not peer.transport.closed:
        (answer,) = answers(peer, (request, 9))
        assert len(answer.responses[0].partition_responses) == count  # type: ignore[attr-defined]


@pytest.mark.parametrize("cut", [2, 100, 50_000])
async def test_one_that_says_of_itself_that_it_is_longer_ends_the_connection(kit: Kit, cut: int) -> None:
    await kit.topic("t", 4)
    peer = peer_of(kit)
    whole = frame(kit, produce(kit, bytes(batch("x" * 2 * MOST)), 9), 9)
    peer.feed(framed(whole[:-cut]), 5000)
    assert peer.transport.closed


async def test_what_it_takes_to_follow_one_is_bounded(kit: Kit) -> None:
    """Of topics with long names, of very many topics, and of unknown tagged fields."""
    await kit.topic("t", 4)
    for topics in (
        [TopicProduceData("x" * 30_000, partition_data=[]) for _ in range(10)],
        [TopicProduceData(f"{at}", partition_data=[]) for at in range(20_000)],
    ):
        peer = peer_of(kit)
        peer.feed(framed(frame(kit, ProduceRequest(None, -1, 1, topics), 9)), 5000)
        assert peer.transport.closed
    whole = bytearray(frame(kit, produce(kit, TOO_LARGE, 9), 9))
    whole[-2:] = b"\xff\xff\xff\xff\x0f" + bytes(MOST)  # tagged fields
    peer = peer_of(kit)
    peer.feed(framed(bytes(whole)), 5000)
    assert peer.transport.closed


@pytest.mark.parametrize("client_id", [None, "", "x" * 30_000])
async def test_whatever_the_client_calls_itself(kit: Kit, client_id: str | None) -> None:
    await kit.topic("t", 4)
    peer = peer_of(kit)
    request = produce(kit, TOO_LARGE)
    peer.feed(framed(frame(kit, request, 9, client_id)), 1000)
    assert code_of(answers(peer, (request, 9))[0]) == "MESSAGE_TOO_LARGE"


async def test_nothing_of_it_is_appended_or_kept(kit: Kit) -> None:
    await kit.topic("t", 4)
    peer = peer_of(kit)
    data = framed(frame(kit, produce(kit, bytes(batch("x" * (20 << 20)))), 9))
    tracemalloc.start()
    try:
        peer.feed(data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * HEAD
    assert peer.server.budget.used == 0
    assert all(log.high_watermark == 0 for log in kit.catalog.by_name["t"].partitions)


async def test_its_answer_takes_its_turn(slow: Kit, store: SlowStore) -> None:
    log = await slow.log()
    peer = peer_of(slow)
    small, large = produce(slow, bytes(batch("a")), 9, -1, 0), produce(slow, TOO_LARGE)
    small.transactional_id = None
    fetch = FetchRequest(topics=[FetchTopic("t", partitions=[FetchPartition(0, fetch_offset=0)])])
    for request, version in ((small, 9), (large, 9), (fetch, 11), (large, 9)):
        peer.feed(framed(frame(slow, request, version)), 5000)
    await turns()
    assert peer.answered == []
    (await store.arrived()).release()
    await turns(100)
    _, second, _, fourth = answers(peer, (small, 9), (large, 9), (fetch, 11), (large, 9))
    assert log.high_watermark == 1
    assert code_of(second) == code_of(fourth) == "MESSAGE_TOO_LARGE"


@pytest.mark.parametrize("version", [7, 11, 12, 18])
async def test_an_api_that_tells_of_errors_at_the_top_does(kit: Kit, version: int) -> None:
    peer = peer_of(kit)
    request = FetchRequest(topics=[FetchTopic("t" * 200, b"t" * 16, [])] * (MOST // 10))
    peer.feed(framed(frame(kit, request, version)), 4096)
    (answer,) = answers(peer, (request, version))
    assert error_name(answer.error_code) == "INVALID_REQUEST"  # type: ignore[attr-defined]
    sync = SyncGroupRequest("g", 1, "m", assignments=[SyncGroupRequestAssignment("m", bytes(MOST))])
    peer.transport.sent.clear()
    peer.feed(framed(frame(kit, sync, 3)), 4096)
    (answer,) = answers(peer, (sync, 3))
    assert error_name(answer.error_code) == "INVALID_REQUEST"  # type: ignore[attr-defined]


GARBAGE = [b"\xff" * 8, b"\0\0\0\x63\0\0\0\1", b"\x7f\0\0\0\0\0\0\1", b"\0\2\0\5\0\0\0\1"]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("begins", GARBAGE, ids=["no API", "no version", "no API either", "ListOffsets"])
async def test_what_is_none_or_cannot_be_told_ends_the_connection_at_once(
    kit: Kit, begins: bytes, piece: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kgw")
    peer = peer_of(kit)
    peer.feed((2**31 - 1).to_bytes(4, "big") + begins, piece)
    assert peer.transport.closed
    assert "a frame of 2147483647 bytes; allowed are 1 to 100000 (limits.max_request_size)" in caplog.text


async def test_a_produce_that_expects_no_answer_ends_the_connection(kit: Kit) -> None:
    await kit.topic("t", 4)
    peer = peer_of(kit)
    peer.feed(framed(frame(kit, produce(kit, TOO_LARGE, 9, 0), 9))[:500])
    assert peer.transport.closed


@pytest.mark.parametrize("topics", [[], [TopicProduceData("t", partition_data=[])]])
async def test_a_produce_of_nothing_ends_the_connection_once_that_is_seen(
    kit: Kit, topics: list[TopicProduceData]
) -> None:
    peer = peer_of(kit)
    body = frame(kit, ProduceRequest(None, -1, 1, topics), 8)
    peer.feed(framed(body + bytes(MOST))[: 4 + len(body) - 1])
    assert not peer.transport.closed
    peer.feed(b"\0")
    assert peer.transport.closed


async def test_one_that_does_not_become_whole_is_not_waited_for_for_ever(kit: Kit) -> None:
    await kit.topic("t", 4)
    peer = peer_of(kit)
    peer.feed(framed(frame(kit, MetadataRequest([]), 9)))
    peer.feed(framed(frame(kit, produce(kit, TOO_LARGE), 9))[:-1], 1000)
    now = peer.server.now()
    peer.connection.check_timeouts(now + LIMITS.frame_timeout + 1)
    assert not peer.transport.closed, "it gets a second more for each 64 KiB"
    peer.connection.check_timeouts(now + LIMITS.frame_timeout + 10)
    assert peer.transport.closed


async def test_a_client_that_goes_within_one_leaves_nothing_behind(kit: Kit) -> None:
    await kit.topic("t", 4)
    peer = peer_of(kit)
    peer.feed(framed(frame(kit, produce(kit, TOO_LARGE), 9))[:-1], 1000)
    peer.connection.eof_received()
    assert peer.transport.closed


@pytest.mark.parametrize("name", [api.name for api in registry.load().values()])
async def test_every_api_is_told_or_ends_the_connection(name: str) -> None:
    kit = await a_kit()
    api = next(api for api in registry.load().values() if api.name == name)
    for version in range(api.versions[0], api.versions[1] + 1):
        peer = peer_of(kit)
        head = api.key.to_bytes(2, "big") + version.to_bytes(2, "big") + b"\0\0\0\7" + bytes(HEAD)
        peer.feed((len(head) + MOST).to_bytes(4, "big") + head)
        if peer.transport.closed:
            continue
        assert peer.answered == []
        peer.feed(bytes(MOST), 10_000)
        assert peer.answered == [7]
    await kit.close()
