"""Requests of many entries: counted, and one at a time."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from broker_kit import Kit, Peer, a_client, a_frame, a_kit, a_server, batch, turns, values_of

from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.config import Limits
from kgw_core.errors import KafkaError, PolicyViolation, Unanswerable, UnknownServerError, error_name
from kgw_core.pending import Pending
from kgw_core.server.dispatch import Dispatcher
from kgw_core.server.large_requests import HEAVY, LARGE
from kgw_core.wire.base import Message
from kgw_core.wire.emit import decoding
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from kgw_core.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kgw_core.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from kgw_core.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestTopic,
    OffsetFetchResponse,
)
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

pytestmark = pytest.mark.anyio

OFFSET_FETCH = 9
VERSION = 5


def many(count: int = 3 * HEAVY) -> OffsetFetchRequest:
    return OffsetFetchRequest("g", [OffsetFetchRequestTopic("t" * 600, list(range(100)))] * (count // 101))


class Handler:
    """In OffsetFetch's place. ``seen``: correlation by order of handling, with the partitions asked for."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome if outcome is not None else OffsetFetchResponse(throttle_time_ms=5)
        self.seen: list[int] = []

    def handle(self, request: Any, context: RequestContext) -> Any:
        self.seen.append(sum(len(topic.partition_indexes) for topic in request.topics))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def api(self) -> Api:
        def refuse(request: Any, error: KafkaError, context: RequestContext) -> OffsetFetchResponse:
            return OffsetFetchResponse(throttle_time_ms=1000 + error.code)

        return Api("OffsetFetch", (0, 9), self.handle, refuse)


def start(kit: Kit, handler: Handler, request: Any, *, stable: bool = False) -> Any:
    frame = memoryview(a_frame(OFFSET_FETCH, VERSION, 7, request))
    assert len(frame) > LARGE
    answer = dispatcher(kit, handler).start(frame, kit.client, stable)
    if not stable:
        frame[:] = b"\xee" * len(frame)
    return answer


def dispatcher(kit: Kit, handler: Handler) -> Dispatcher:
    return Dispatcher(kit.broker, {OFFSET_FETCH: handler.api()})


async def throttle(data: Any) -> int:
    if isinstance(data, Pending):
        with anyio.fail_after(5):
            data = await data.wait()
    assert isinstance(data, bytes)
    return int.from_bytes(data[8:12], "big")


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("count", [HEAVY // 2, 3 * HEAVY])
async def test_they_are_answered_though_their_bytes_are_gone(kit: Kit, stable: bool, count: int) -> None:
    handler = Handler()
    request = many(count)
    request.topics += [OffsetFetchRequestTopic("x" * 20_000, [])]
    assert await throttle(start(kit, handler, request, stable=stable)) == 5
    assert handler.seen == [count // 101 * 100]


def produce(values: str, partitions: Iterable[int]) -> ProduceRequest:
    parts = [PartitionProduceData(index, memoryview(batch(values))) for index in partitions]
    return ProduceRequest(None, 1, 30_000, [TopicProduceData("t", partition_data=parts)])


async def test_a_produce_is_not_overtaken_by_a_smaller_one_behind_it() -> None:
    kit = await a_kit()
    await kit.topic("t", HEAVY + 1)
    peer = Peer(a_server(kit.dispatcher))
    peer.send(
        kit.frame(produce("first", range(HEAVY + 1)), 9),
        kit.frame(produce("second", [0]), 9),
    )
    with anyio.fail_after(5):
        while len(peer.answered) < 2:
            await turns()
    assert peer.answered == [1, 2]
    log = kit.catalog.by_name["t"].partitions[0]
    assert values_of(log.read_now(0, 1 << 20)) == [b"first", b"second"]
    await kit.close()


async def test_others_run_between_two_of_them(kit: Kit) -> None:
    handler = Handler()
    made = dispatcher(kit, handler)
    frames = [memoryview(a_frame(OFFSET_FETCH, VERSION, 7, many())) for _ in range(20)]
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(len(handler.seen))
        if len(handler.seen) < 20:
            asyncio.get_running_loop().call_soon(tick)

    answers = [made.start(frame, a_client(at), True) for at, frame in enumerate(frames)]
    tick()
    for answer in answers:
        await throttle(answer)
    assert max(after - before for before, after in itertools.pairwise(ticks)) == 1


FEW = Limits(max_topics=1_000, max_partitions=1_000, max_request_entries=2_000)


def listing(count: int) -> Message:
    asked = [ListOffsetsPartition(at, timestamp=-1) for at in range(count - 1)]
    return ListOffsetsRequest(-1, topics=[ListOffsetsTopic("t", asked)])


def fetching(count: int) -> Message:
    return FetchRequest(topics=[FetchTopic("t", partitions=[FetchPartition(at) for at in range(count - 1)])])


async def test_more_entries_than_allowed_are_refused_and_the_setting_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "kgw")
    kit = await a_kit(limits=FEW)
    await kit.topic("t", 10)
    for count in (2_001, 2_499, 20_000):  # more than one step of the decoder, and all in one
        answer = await kit.ask(fetching(count), 11)
        assert error_name(answer.error_code) == "INVALID_REQUEST"
        assert answer.responses == []
    assert "more than 2000 entries (limits.max_request_entries)" in caplog.text
    assert (await kit.ask(fetching(2_000), 11)).error_code == 0
    await kit.close()


@pytest.mark.parametrize("version", [5, 8])
async def test_that_ends_the_connection_where_the_answer_has_no_place_for_it(version: int) -> None:
    kit = await a_kit(limits=FEW)
    await kit.topic("t", 10)
    assert len((await kit.ask(listing(2_000), version)).topics[0].partitions) == 1_999
    with pytest.raises(Unanswerable, match=r"v\d with more than 2000 entries \(limits.max_request_entries"):
        await kit.ask(listing(2_001), version)
    await kit.close()


async def test_a_produce_with_acks_0_that_names_too_many_ends_the_connection() -> None:
    kit = await a_kit(limits=FEW)
    parts = [PartitionProduceData(at, b"") for at in range(3_000)]
    request = ProduceRequest(None, 0, 30_000, [TopicProduceData("t", partition_data=parts)])
    with pytest.raises(Unanswerable, match="max_request_entries"):
        await kit.ask(request, 9)
    await kit.close()


@pytest.mark.parametrize("count", [HEAVY // 2, 3 * HEAVY])
async def test_a_large_one_that_is_refused_as_a_whole_is_told_for_each_entry(kit: Kit, count: int) -> None:
    request = ProduceRequest(None, 5, 30_000, [])  # acks=5
    parts = [PartitionProduceData(at, b"x" * 40) for at in range(count)]
    request.topic_data = [TopicProduceData("t", partition_data=parts)]
    (topic,) = (await kit.ask(request, 9)).responses
    assert [error_name(each.error_code) for each in topic.partition_responses] == (
        ["INVALID_REQUIRED_ACKS"] * count
    )


@pytest.mark.parametrize("topics", [HEAVY // 4, 3 * HEAVY])
async def test_one_that_is_malformed_ends_the_connection(kit: Kit, topics: int) -> None:
    request = OffsetFetchRequest("g", [OffsetFetchRequestTopic("t" * 100, [1])] * topics)
    frame = memoryview(a_frame(OFFSET_FETCH, VERSION, 7, request)[:-50])
    with pytest.raises(Unanswerable, match="OffsetFetch v5: OffsetFetchRequest v5"):
        await throttle(dispatcher(kit, Handler()).start(frame, kit.client, True))


@pytest.mark.parametrize("stable", [False, True])
async def test_others_get_turns_while_one_is_decoded(kit: Kit, stable: bool) -> None:
    handler = Handler()
    count = 40 * decoding.STEP
    answer = start(kit, handler, OffsetFetchRequest("g", [OffsetFetchRequestTopic("", [])] * count))
    assert isinstance(answer, Pending)
    turns = 0
    while not handler.seen:
        await anyio.lowlevel.checkpoint()
        turns += 1
    assert turns >= 40
    assert await throttle(answer) == 5


async def test_one_whose_client_goes_while_it_is_decoded_is_not_handled(kit: Kit) -> None:
    handler = Handler()
    topics = [OffsetFetchRequestTopic("", [])] * (40 * decoding.STEP)
    answer = start(kit, handler, OffsetFetchRequest("g", topics))
    assert isinstance(answer, Pending)
    await turns(10)
    answer.abandon()
    await turns(100)
    assert handler.seen == []
    assert await throttle(start(kit, handler, many())) == 5


async def test_one_whose_client_has_gone_before_its_turn_is_not_handled(kit: Kit) -> None:
    handler = Handler()
    start(kit, handler, many()).abandon()
    await turns()
    assert handler.seen == []


async def test_one_that_waits_holds_up_no_other(kit: Kit) -> None:
    pending: Pending[Any] = Pending()
    abandoned: list[bool] = []
    pending.on_abandon = lambda: abandoned.append(True)
    waits = start(kit, Handler(pending), many())
    await turns()
    assert not waits.done
    assert await throttle(start(kit, Handler(), many())) == 5
    waits.abandon()
    assert abandoned == [True]
    pending.resolve(OffsetFetchResponse(throttle_time_ms=9))
    assert await throttle(waits) == 9


async def in_a_task(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize("how", ["raised", "later", "in_a_task", "encoded"])
async def test_what_fails_is_refused(kit: Kit, how: str) -> None:
    error = ZeroDivisionError("bug") if how == "encoded" else PolicyViolation("no")
    later: Pending[Any] = Pending()
    later.fail(error)
    outcome = {"raised": error, "later": later, "encoded": OffsetFetchResponse(throttle_time_ms=2**40)}.get(
        how
    )
    code = UnknownServerError.code if how == "encoded" else PolicyViolation.code
    answer = start(kit, Handler(outcome if outcome is not None else in_a_task(error)), many())
    assert await throttle(answer) == 1000 + code


async def test_a_large_produce_of_few_batches_is_handled_at_once(kit: Kit) -> None:
    await kit.log("t")
    part = PartitionProduceData(0, bytes(batch("x" * 2 * LARGE)))
    answer = kit.start(ProduceRequest(None, -1, 1000, [TopicProduceData("t", partition_data=[part])]), 9)
    assert isinstance(answer, bytes)


@pytest.mark.parametrize("stable", [False, True])
async def test_a_produce_of_many_batches_waits_for_its_turn(kit: Kit, stable: bool) -> None:
    topic = await kit.topic(partitions=2 * HEAVY)
    for log in topic.partitions:
        await log.open()
    parts = [PartitionProduceData(at, bytes(batch(f"v{at}"))) for at in range(2 * HEAVY)]
    request = ProduceRequest(None, -1, 1000, [TopicProduceData("t", partition_data=parts)])
    answer = kit.start(request, 9, stable=stable)
    assert isinstance(answer, Pending)
    response = kit.decode(await answer.wait(), request, 9)
    assert {part.error_code for part in response.responses[0].partition_responses} == {0}
    assert b"v1999" in bytes(topic.partitions[1999].read_now(0, 1000)[0].data)


async def test_metadata_of_many_topics(kit: Kit) -> None:
    request = MetadataRequest([MetadataRequestTopic(name=f"topic-{at}") for at in range(2_000)], False)
    response = await kit.ask(request, 4)
    assert [topic.error_code for topic in response.topics] == [3] * 2_000


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    made = await a_kit()
    yield made
    await made.close()


@pytest.mark.parametrize("count", [10, HEAVY * 3])
async def test_an_answer_that_is_larger_than_answers_may_be_is_refused_and_the_setting_is_named(
    count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Offsets may have texts of 4 KiB each, and one request may ask for all of them."""
    caplog.set_level(logging.INFO, "kgw")
    size = count * 1_000
    few = Limits(
        max_request_size=size, fetch_max_bytes=size, max_queued_bytes=size, max_total_queued_bytes=size,
        max_topics=1, max_partitions=count,
    )  # fmt: skip
    kit = await a_kit(limits=few)
    await kit.topic("t", count)
    for at in range(count):
        part = OffsetCommitRequestPartition(at, 7, committed_metadata="m" * 1_000)
        topics = [OffsetCommitRequestTopic("t", partitions=[part])]
        told = await kit.ask(OffsetCommitRequest("g", topics=topics), 8)
        assert told.topics[0].partitions[0].error_code == 0
    asked = [OffsetFetchRequestTopic("t", list(range(count)))]
    answer = await kit.ask(OffsetFetchRequest("g", asked), 7)
    assert error_name(answer.error_code) == "INVALID_REQUEST"
    assert f"allowed are {count}000 (limits.max_total_queued_bytes)" in caplog.text
    fewer = await kit.ask(OffsetFetchRequest("g", [OffsetFetchRequestTopic("t", [0])]), 7)
    assert fewer.topics[0].partitions[0].metadata == "m" * 1_000
    await kit.close()
