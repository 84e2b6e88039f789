"""Fetches of very many partitions: an idle poll of a session visits what has changed, and whatever visits all
partitions does so in steps. What is counted are bytecode instructions, which are the same in every run."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import anyio
import pytest
from broker_kit import Kit, a_kit, batch, done, turns, view

from kgw_core.errors import FetchSessionIdNotFound
from kgw_core.fetching.changed import Changed
from kgw_core.fetching.part import Part
from kgw_core.fetching.sessions import FetchSession
from kgw_core.pending import Pending
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic

pytestmark = pytest.mark.anyio

V = 17
COUNT = 20_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Instructions:
    """``total`` and, between two turns of the event loop, ``most``."""

    def __init__(self) -> None:
        self.total = self.most = self._turn = 0
        self._counting = True

    @contextmanager
    def counting(self) -> Iterator[Instructions]:
        loop = asyncio.get_running_loop()

        def tick() -> None:
            self.most = max(self.most, self.total - self._turn)
            self._turn = self.total
            if self._counting:
                loop.call_soon(tick)

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            if event == "opcode":
                self.total += 1
            else:
                frame.f_trace_lines = False
                frame.f_trace_opcodes = True
            return trace

        tick()
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            yield self
        finally:
            sys.settrace(before)
            self._counting = False
            self.most = max(self.most, self.total - self._turn)


def request(kit: Kit, session: FetchSession | None = None, count: int = 0, **options: Any) -> FetchRequest:
    topics = []
    if count:
        asked = [FetchPartition(index, fetch_offset=0, partition_max_bytes=1000) for index in range(count)]
        topics = [FetchTopic("", kit.catalog.by_name["t"].id_bytes, asked)]
    if session is not None:
        options |= {"session_id": session.id, "session_epoch": session.epoch}
    return FetchRequest(topics=topics, **{"max_wait_ms": 500, "min_bytes": 1, "max_bytes": 1 << 20} | options)


def started(kit: Kit, asked: FetchRequest) -> Pending[Any]:
    answer = kit.start(asked, V, stable=True)
    assert isinstance(answer, Pending)
    return answer


def to_read(session: FetchSession) -> list[Part]:
    """The parts that the next fetch of a large session looks at."""
    assert session.changed is not None
    return list(session.changed.parts)


async def began(kit: Kit, count: int) -> FetchSession:
    """A session of empty partitions, none of which is left to read."""
    await kit.topic("t", count)
    asked = request(kit, count=count, max_wait_ms=0, session_epoch=0)
    response = kit.decode(await started(kit, asked).wait(), asked, V)
    session = kit.broker.fetch_sessions.get(response.session_id)
    assert session is not None
    asked = request(kit, session, max_wait_ms=0)
    assert not kit.decode(await started(kit, asked).wait(), asked, V).responses
    assert not to_read(session)
    return session


async def test_an_idle_poll_costs_the_same_however_many_partitions_there_are() -> None:
    costs = []
    for count in (3_000, 6_000):
        kit = await a_kit()
        session = await began(kit, count)
        asked = request(kit, session)
        with Instructions().counting() as counts:
            poll = started(kit, asked)
            await kit.clock.advance(0.5)
            await turns()
        assert kit.decode(poll.result(), asked, V).responses == []
        costs.append(counts.total)
        await kit.close()
    assert abs(costs[1] - costs[0]) < 3_000 / 2  # not one instruction for each partition more


async def test_what_visits_all_partitions_does_so_in_steps(kit: Kit) -> None:
    """A full fetch that waits and begins a session, the first poll of the session, one that changes all its
    partitions, and its end."""
    most = 0
    await kit.topic("t", COUNT)
    logs = kit.catalog.by_name["t"].partitions
    for log in logs:
        await log.open()

    asked = request(kit, count=COUNT, session_epoch=0)
    frame = memoryview(kit.frame(asked, V))
    counts = Instructions()
    with counts.counting():
        poll = kit.dispatcher.start(frame, kit.client, True)
        while not all(log.waiting for log in logs[::99]):
            await turns()
        await kit.clock.advance(0.5)
        while any(log.waiting for log in logs[::99]):
            await turns()
        answer = await poll.wait()
    most = max(most, counts.most)
    session = kit.broker.fetch_sessions.get(kit.decode(answer, asked, V).session_id)
    assert session is not None

    poll = started(kit, asked := request(kit, session))
    counts = Instructions()
    with counts.counting():
        while to_read(session):
            await turns()
        await kit.clock.advance(0.5)
        answer = await poll.wait()
    most = max(most, counts.most)
    assert kit.decode(answer, asked, V).responses == []
    assert all(log.waiting for log in logs)

    asked = request(kit, session, count=COUNT, max_wait_ms=0)
    frame = memoryview(kit.frame(asked, V))
    counts = Instructions()
    with counts.counting():
        answer = await kit.dispatcher.start(frame, kit.client, True).wait()
    most = max(most, counts.most)
    assert kit.decode(answer, asked, V).responses == []
    assert not to_read(session)

    counts = Instructions()
    with counts.counting():
        kit.broker.fetch_sessions.close(session.id)
        while any(log.waiting for log in logs[::99]):
            await turns()
    most = max(most, counts.most)
    assert not any(log.waiting for log in logs)
    assert most < 250_000  # 180,000 are 500 partitions that are decoded or read


async def test_a_session_may_lose_all_partitions_or_end_while_it_is_changed(kit: Kit) -> None:
    session = await began(kit, 6_000)
    logs = kit.catalog.by_name["t"].partitions
    gone = [ForgottenTopic("", kit.catalog.by_name["t"].id_bytes, list(range(5_999)))]
    asked = request(kit, session, max_wait_ms=0, forgotten_topics_data=gone)
    assert kit.decode(await started(kit, asked).wait(), asked, V).session_id == session.id
    assert [bool(log.waiting) for log in logs] == [False] * 5_999 + [True]
    gone[0].partitions[:] = range(6_000)
    asked = request(kit, session, max_wait_ms=0, forgotten_topics_data=gone)
    assert kit.decode(await started(kit, asked).wait(), asked, V).session_id == 0
    assert kit.broker.fetch_sessions.get(session.id) is None

    asked = request(kit, count=6_000, max_wait_ms=0, session_epoch=0)
    id = kit.decode(await started(kit, asked).wait(), asked, V).session_id
    session = kit.broker.fetch_sessions.get(id)
    assert session is not None
    asked = request(kit, session, count=6_000, max_wait_ms=0)
    poll = started(kit, asked)
    while session.epoch == 1:
        await turns(1)
    kit.broker.fetch_sessions.close(id)
    assert kit.decode(await poll.wait(), asked, V).error_code == FetchSessionIdNotFound.code
    assert not any(log.waiting for log in logs)


async def test_a_client_that_goes_away_leaves_nothing_and_no_garbage(kit: Kit) -> None:
    session = await began(kit, 3_000)
    logs = kit.catalog.by_name["t"].partitions
    poll = started(kit, request(kit, session))
    done(logs[0].append(view(batch("x" * 100)), False))  # among many, one that is to be read
    gc.collect()
    gc.disable()
    try:
        poll.abandon()
        kit.broker.fetch_sessions.close(session.id)
        del session, poll
        await turns(100)
        assert not any(log.waiting for log in logs)
        assert not kit.logs.purgatory.waiting
        assert not any(type(each) is Changed for each in gc.get_objects())
    finally:
        gc.enable()


async def test_bytes_of_logs_that_were_put_aside_count_together(kit: Kit) -> None:
    """Also the second append to the same log, which is not put aside any more."""
    session = await began(kit, 3_000)
    logs = kit.catalog.by_name["t"].partitions
    size = len(batch("x"))
    asked = request(kit, session, min_bytes=4 * size)
    poll = started(kit, asked)
    for index in (7, 7, 2_900):
        done(logs[index].append(view(batch("x")), False))
        await turns()
    assert not poll.done
    done(logs[7].append(view(batch("x")), False))
    await turns()
    answers = kit.decode(poll.result(), asked, V).responses[0].partitions
    assert [(answer.partition_index, answer.high_watermark) for answer in answers] == [(7, 3), (2_900, 1)]
    assert [part.asked.partition for part in to_read(session)] == [7, 2_900]


@pytest.mark.parametrize("moment", range(30))
async def test_a_batch_that_comes_while_the_logs_are_watched_is_seen(kit: Kit, moment: int) -> None:
    """Its partition was read already, and may not be watched yet."""
    await kit.topic("t", 3_000)
    logs = kit.catalog.by_name["t"].partitions
    for log in logs:
        await log.open()
    poll = started(kit, request(kit, count=3_000, session_epoch=-1))
    for _ in range(moment):
        await asyncio.sleep(0)
    done(logs[0].append(view(batch("x")), False))
    with anyio.fail_after(30):
        await poll.wait()
    assert not any(log.waiting for log in logs)
