"""A connection as the event loop drives it, on a fake transport."""

from __future__ import annotations

import logging
import random
import resource
import struct
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from broker_kit import (
    Kit,
    Peer,
    SlowStore,
    a_frame,
    a_server,
    batch,
    framed,
    turns,
    values_of,
    view,
)

from kgw_core.background import Background, PartlyFailed
from kgw_core.clock import SystemClock
from kgw_core.config import Limits
from kgw_core.errors import Unanswerable
from kgw_core.pending import Pending
from kgw_core.server.arriving import GRACE, SLOWEST
from kgw_core.server.connection import SHARED_SIZE
from kgw_core.server.pipeline import DECODED
from kgw_core.server.responses import Answer
from kgw_core.spi.settings import MiB
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.messages.api_versions import ApiVersionsRequest
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.metadata import MetadataRequest
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

pytestmark = pytest.mark.anyio

PRODUCE, FETCH, METADATA = 0, 1, 3
NOW, LATER, NEVER, REFUSED, BROKEN = range(5)


def ask(number: int, key: int = METADATA, *, how: int = NOW, version: int = 9, size: int = 0) -> bytes:
    """A request for the :class:`Script`: its number comes back as the answer's correlation id."""
    return struct.pack(">hhiB", key, version, number, how) + b"\x55" * size


class Script:
    """In the dispatcher's place: answers as each request says. ``started`` are their numbers, in order."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.frames: list[bytes] = []
        self.stable: list[bool] = []
        self.open: dict[int, Pending[Any]] = {}
        self.size = 0
        """The bodies of the answers. A body of several pieces is a list."""

    def start(self, frame: memoryview, client: Any, stable: bool) -> Answer | Pending[Answer]:
        _, _, number, how = struct.unpack_from(">hhiB", frame)
        self.started.append(number)
        self.frames.append(bytes(frame))
        self.stable.append(stable)
        if how == REFUSED:
            raise Unanswerable(f"number {number} is refused")
        if how == BROKEN:
            raise ZeroDivisionError(f"number {number} is a bug")
        if how == NEVER:
            return None
        if how == LATER:
            self.open[number] = Pending()
            return self.open[number]
        answer: Answer = self.answer(number)
        return answer

    def refused_oversized(self, beginning: memoryview, told: str, *_: Any) -> Answer:
        raise Unanswerable(told)

    def answer(self, number: int) -> Any:
        body = struct.pack(">i", number) + b"\xaa" * self.size
        whole = len(body).to_bytes(4, "big") + body
        return whole if self.size < 16384 else [whole[:8], whole[8:]]

    def finish(self, number: int) -> None:
        self.open[number].resolve(self.answer(number))


@pytest.fixture
def script() -> Script:
    return Script()


def a_peer(script: Script, **limits: int) -> Peer:
    return Peer(a_server(script, Limits(max_topics=1, max_partitions=1, **limits)))  # type: ignore[arg-type]


@pytest.fixture
async def peer(script: Script) -> Peer:
    return a_peer(script)


class TestFrames:
    @pytest.mark.parametrize("piece", [1, 2, 3, 4, 5, 7, 8, 11, 64, 1000, 1 << 20])
    async def test_frames_are_put_together_from_pieces_of_every_size(
        self, peer: Peer, script: Script, piece: int
    ) -> None:
        frames = [ask(number, size=size) for number, size in enumerate([0, 1, 2, 30, 0, 700, 5, 0])]
        peer.send(*frames, piece=piece)
        assert script.frames == frames
        assert peer.answered == list(range(8))

    async def test_frames_larger_than_the_shared_buffer(self, peer: Peer, script: Script) -> None:
        sizes = [SHARED_SIZE - 13, SHARED_SIZE - 12, SHARED_SIZE, 3 * SHARED_SIZE, 5, 2 * MiB, 7]
        frames = [ask(number, size=size) for number, size in enumerate(sizes)]
        for piece in (1 << 30, 50_000, 4097):
            script.frames.clear()
            peer.send(*frames, piece=piece)
            assert script.frames == frames

    @pytest.mark.parametrize("seed", range(20))
    async def test_any_cut_of_any_stream(self, peer: Peer, script: Script, seed: int) -> None:
        chance = random.Random(seed)
        frames = [
            ask(number, size=int(chance.choice([0, 3, 900, 70_000]) * chance.random()))
            for number in range(30)
        ]
        data = b"".join(map(framed, frames))
        while data:
            sent = peer.feed(data[: chance.choice([1, 3, 5, 100, 9000, 1 << 17])])
            assert sent
            data = data[sent:]
            if not peer.transport.reading:
                await turns(1)  # of others, after a whole buffer of frames
        assert script.frames == frames
        assert peer.answered == list(range(30))

    async def test_only_a_frame_with_memory_of_its_own_is_stable(self, peer: Peer, script: Script) -> None:
        peer.send(ask(0), ask(1))
        peer.send(ask(2, size=100), piece=20)
        peer.send(ask(3, size=SHARED_SIZE))
        assert script.stable == [False, False, True, True]

    @pytest.mark.parametrize("piece", [1, 3, 1 << 20])
    @pytest.mark.parametrize("length", [0, -1, -(2**31), 0x47455420])
    async def test_a_length_that_is_not_allowed_ends_the_connection(
        self, script: Script, length: int, piece: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        peer = a_peer(script, max_request_size=1000, max_in_flight_bytes=1000)
        with caplog.at_level(logging.INFO):
            peer.feed(framed(ask(1)) + length.to_bytes(4, "big", signed=True) + b"GET / HTTP", piece)
        assert peer.answered == [1]
        assert peer.transport.closed
        (record,) = caplog.records
        assert f"a frame of {length} bytes; allowed are 1 to 1000 (limits.max_request_size)" in record.msg % (
            record.args
        )

    @pytest.mark.parametrize(
        ("sent", "told"), [(b"GET / HTTP/1.1\r\n", "HTTP"), (b"\x16\x03\x01\x02\x00\x01\x00", "TLS")]
    )
    async def test_who_speaks_something_else_is_told(
        self, peer: Peer, sent: bytes, told: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            peer.feed(sent)
        assert peer.transport.closed
        (record,) = caplog.records
        assert f"it looks like {told}" in record.getMessage()

    @pytest.mark.parametrize("piece", [3, 1 << 20])
    async def test_the_largest_allowed_frame_is_allowed(self, script: Script, piece: int) -> None:
        peer = a_peer(script, max_request_size=1000, max_in_flight_bytes=1000)
        peer.send(ask(1, size=1000 - 9), ask(2, size=1000 - 9), piece=piece)
        assert peer.answered == [1, 2]
        peer.send(ask(3, size=1001 - 9), piece=piece)
        assert script.started == [1, 2]
        assert peer.transport.closed

    async def test_memory_for_a_claimed_length_grows_only_with_what_arrives(self, script: Script) -> None:
        tracemalloc.start()
        try:
            peers = []
            for _ in range(50):
                peer = a_peer(script)
                peer.feed((90 * MiB).to_bytes(4, "big") + b"\0\0")
                peers.append(peer)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 4 * MiB  # mapped memory is not seen here
        assert resident() < 2 << 30  # but here, if it is touched


def resident() -> int:
    """Bytes of memory that this process really has, where the system says so."""
    told = Path("/proc/self/statm")
    return int(told.read_text().split()[1]) * resource.getpagesize() if told.exists() else 0


class TestOrder:
    async def test_answers_leave_in_the_order_of_requests(self, peer: Peer, script: Script) -> None:
        peer.send(*[ask(number, PRODUCE, how=LATER) for number in range(3)])
        assert script.started == [0, 1, 2]
        script.finish(2)
        script.finish(1)
        assert peer.answered == []
        script.finish(0)
        assert peer.answered == [0, 1, 2]

    async def test_what_one_commit_answers_leaves_in_one_write(
        self, peer: Peer, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writes: list[bytes] = []
        write = peer.transport.write
        monkeypatch.setattr(peer.transport, "write", lambda data: (writes.append(bytes(data)), write(data)))
        peer.send(*[ask(number, PRODUCE, how=LATER) for number in range(4)], ask(4, how=LATER))
        with peer.server.coalescer:
            for number in (0, 2, 1):
                script.finish(number)
            assert peer.answered == []
            assert script.started == [0, 1, 2, 3]
        assert peer.answered == [0, 1, 2]
        assert len(writes) == 1
        script.finish(3)
        assert script.started == [0, 1, 2, 3, 4]
        assert len(writes) == 2

    @pytest.mark.parametrize("seed", range(12))
    async def test_answers_that_are_gathered_are_in_order_and_complete_whatever_happens_meanwhile(
        self, script: Script, seed: int
    ) -> None:
        """While many answers are given at once, clients go away, read or not, and the gateway drains."""
        rng = random.Random(seed)
        server = a_server(script, Limits(max_queued_bytes=100, max_in_flight_requests=8))  # type: ignore[arg-type]
        peers = [Peer(server) for _ in range(5)]
        asked: dict[Peer, list[int]] = {peer: [] for peer in peers}
        numbers = iter(range(10_000))

        def send(peer: Peer) -> None:
            number, key, how = next(numbers), rng.choice((PRODUCE, METADATA)), rng.choice((NOW, LATER))
            if peer.transport.reading and not peer.transport.closed:
                asked[peer].append(number)
                peer.send(ask(number, key, how=how, size=rng.choice((0, 60))))

        def finish(count: int) -> None:
            with server.coalescer:
                for number in rng.sample(sorted(script.open), min(count, len(script.open))):
                    script.open.pop(number).resolve(script.answer(number))
                    if rng.random() < 0.02:
                        rng.choice(peers).connection.abort()

        for _ in range(300):
            peer, chance = rng.choice(peers), rng.random()
            if chance < 0.6:
                send(peer)
            elif chance < 0.8:
                finish(rng.randrange(8))
            elif chance < 0.9 and not peer.transport.closed:
                peer.transport.client_reads = not peer.transport.client_reads
                peer.transport._move()
            assert all(peer.answered == asked[peer][: len(peer.answered)] for peer in peers)
        for peer in peers:
            if not peer.transport.closed:
                peer.connection.drain()
            if peer.transport.protocol is not None:
                peer.transport.read_all()
        while script.open:
            finish(3)
        await turns()
        whole = [peer for peer in peers if not peer.transport.aborted]
        assert [peer.answered for peer in whole] == [asked[peer] for peer in whole]
        assert server.connections == set()
        assert server.budget.used == 0

    async def test_an_answer_that_is_there_at_once_waits_for_those_before_it(
        self, peer: Peer, script: Script
    ) -> None:
        peer.send(ask(0, PRODUCE, how=LATER), ask(1, PRODUCE), ask(2, PRODUCE, how=NEVER))
        assert script.started == [0, 1, 2]
        assert peer.answered == []
        script.finish(0)
        assert peer.answered == [0, 1]

    @pytest.mark.parametrize("second", [METADATA, FETCH])
    async def test_only_a_produce_overlaps_and_only_a_produce(
        self, peer: Peer, script: Script, second: int
    ) -> None:
        peer.send(ask(0, PRODUCE, how=LATER), ask(1, second, how=LATER), ask(2, PRODUCE, how=LATER))
        assert script.started == [0]
        script.finish(0)
        assert script.started == [0, 1]
        script.finish(1)
        assert script.started == [0, 1, 2]
        script.finish(2)
        assert peer.answered == [0, 1, 2]

    async def test_a_produce_of_old_message_sets_overlaps_nothing(self, peer: Peer, script: Script) -> None:
        old = [ask(number, PRODUCE, how=LATER, version=2) for number in range(2)]
        peer.send(*old)
        assert script.started == [0]
        script.finish(0)
        assert script.started == [0, 1]

    async def test_produces_that_were_held_overlap_again(self, peer: Peer, script: Script) -> None:
        peer.send(ask(0, how=LATER), *[ask(number, PRODUCE, how=LATER) for number in (1, 2, 3)])
        assert script.started == [0]
        script.finish(0)
        assert script.started == [0, 1, 2, 3]
        peer.send(ask(4, PRODUCE, how=LATER))
        assert script.started == [0, 1, 2, 3, 4]

    async def test_held_produces_start_up_to_the_next_other_request(self, peer: Peer, script: Script) -> None:
        peer.send(ask(0, how=LATER), ask(1, PRODUCE, how=LATER), ask(2), ask(3, PRODUCE, how=LATER))
        script.finish(0)
        assert script.started == [0, 1]
        script.finish(1)
        assert script.started == [0, 1, 2, 3]
        assert peer.answered == [0, 1, 2]

    async def test_held_frames_survive_the_buffer_they_came_in(self, peer: Peer, script: Script) -> None:
        frames = [ask(0, how=LATER), *[ask(number, size=50 * number) for number in range(1, 9)]]
        peer.send(*frames)
        script.finish(0)
        assert script.frames == frames
        assert peer.answered == list(range(9))

    async def test_a_frame_shorter_than_a_header_is_no_produce(self, peer: Peer, script: Script) -> None:
        peer.send(ask(0, PRODUCE, how=LATER))
        peer.send(b"\0", b"\0\0\0")
        assert script.started == [0]

    async def test_answers_that_come_while_others_are_sent_are_not_lost(
        self, peer: Peer, script: Script
    ) -> None:
        """An answer starts a held request, which is answered at once, and so on."""
        peer.send(ask(0, how=LATER), *[ask(number) for number in range(1, 90)])
        script.finish(0)
        assert peer.answered == list(range(90))
        assert peer.transport.writes == 1

    async def test_many_answers_of_one_read_leave_in_one_write(self, peer: Peer, script: Script) -> None:
        peer.send(*[ask(number) for number in range(50)])
        assert peer.transport.writes == 1


class TestPressure:
    async def test_reading_stops_at_the_most_requests_in_flight_and_goes_on_after(
        self, script: Script
    ) -> None:
        peer = a_peer(script, max_in_flight_requests=3)
        peer.send(ask(0, how=LATER), piece=4)
        frames = b"".join(framed(ask(number)) for number in range(1, 20))
        sent = peer.feed(frames, piece=13)
        assert not peer.transport.reading
        assert sent == 2 * 13  # with the one in work
        script.finish(0)
        assert peer.transport.reading
        assert peer.answered == [0, 1, 2]
        peer.feed(frames[sent:])
        assert peer.answered == list(range(20))

    async def test_no_more_produces_overlap_than_may_be_in_flight(self, script: Script) -> None:
        peer = a_peer(script, max_in_flight_requests=3)
        peer.send(*[ask(number, PRODUCE, how=LATER) for number in range(6)])
        assert script.started == [0, 1, 2]
        script.finish(0)
        assert script.started == [0, 1, 2, 3]
        assert peer.answered == [0]

    async def test_reading_stops_at_the_most_bytes_held(self, script: Script) -> None:
        peer = a_peer(script, max_request_size=5000, max_in_flight_bytes=5000)
        peer.send(ask(0, how=LATER))
        data = b"".join(framed(ask(number, size=2000)) for number in range(1, 4))
        sent = peer.feed(data)
        await turns(1)
        assert sent + peer.feed(data[sent:]) == len(data)
        assert not peer.transport.reading
        script.finish(0)
        assert peer.transport.reading
        assert peer.answered == [0, 1, 2, 3]

    async def test_others_have_their_turn_after_a_whole_buffer_of_frames(
        self, peer: Peer, script: Script
    ) -> None:
        """libuv reads on as long as its buffer gets full, 32 times."""
        frames = [ask(number) for number in range(3 * SHARED_SIZE // len(framed(ask(0))))]
        data = b"".join(map(framed, frames))
        while data:
            sent = peer.feed(data)
            data = data[sent:]
            assert sent <= SHARED_SIZE + len(framed(frames[0]))
            assert peer.transport.reading == (not data)
            await turns(1)
            assert peer.transport.reading
        assert script.frames == frames

    async def test_a_large_frame_is_read_on_and_on(self, peer: Peer, script: Script) -> None:
        frame = framed(ask(0, size=5 * SHARED_SIZE))
        assert peer.feed(frame, SHARED_SIZE) == len(frame)
        assert peer.transport.reading

    async def test_while_the_client_does_not_read_nothing_is_started_and_nothing_is_read(
        self, script: Script
    ) -> None:
        script.size = 2000
        peer = a_peer(script, max_queued_bytes=5000)
        peer.transport.client_reads = False
        peer.send(ask(0), ask(1), ask(2))  # of one read: past the limit only when they are written
        assert not peer.transport.reading
        assert script.started == [0, 1, 2]
        peer.transport.reading = True  # what was under way all the same
        peer.send(ask(3), ask(4, PRODUCE))
        assert script.started == [0, 1, 2]
        peer.transport.read_all()
        assert script.started == [0, 1, 2, 3, 4]
        assert peer.answered == [0, 1, 2, 3, 4]
        assert peer.transport.reading

    async def test_large_answers_to_requests_of_one_read_do_not_pile_up(self, script: Script) -> None:
        script.size = 1 * MiB
        peer = a_peer(script, max_queued_bytes=MiB)
        peer.transport.client_reads = False
        peer.send(*[ask(number) for number in range(100)])
        assert script.started == [0]
        for count in range(2, 6):
            peer.transport.client_reads = True
            peer.transport._move()
            assert len(script.started) >= count
        assert peer.answered == list(range(100))

    async def test_answers_to_a_client_that_does_not_read_are_kept_in_order(self, script: Script) -> None:
        script.size = 3000
        peer = a_peer(script, max_queued_bytes=1000)
        peer.transport.client_reads = False
        peer.send(ask(0, PRODUCE, how=LATER), ask(1, PRODUCE, how=LATER))
        script.finish(0)
        script.finish(1)
        peer.transport.read_all()
        assert peer.answered == [0, 1]


class TestBudget:
    """The bytes of all connections together."""

    LIMITS = Limits(
        max_request_size=100_000, max_in_flight_bytes=100_000, max_total_in_flight_bytes=200_000,
        max_topics=1, max_partitions=1, max_request_entries=1_000,
    )  # fmt: skip

    async def test_past_it_who_has_something_in_flight_is_not_read_and_others_are(
        self, script: Script
    ) -> None:
        server = a_server(script, self.LIMITS)  # type: ignore[arg-type]
        first, second, third = Peer(server), Peer(server), Peer(server)
        first.send(ask(0, PRODUCE, how=LATER, size=89_991))
        assert first.transport.reading
        second.send(ask(1, PRODUCE, how=LATER, size=89_991))
        second.send(ask(2, PRODUCE, how=LATER, size=19_991))
        assert server.budget.used == 200_000
        assert not second.transport.reading
        third.send(ask(3))
        assert third.answered == [3]
        assert third.transport.reading
        script.finish(1)
        assert second.transport.reading
        script.finish(0)
        script.finish(2)
        assert server.budget.used == 0

    async def test_a_request_that_waits_counts_as_what_it_takes_decoded(self, script: Script) -> None:
        server = a_server(script, self.LIMITS)  # type: ignore[arg-type]
        peer = Peer(server)
        peer.send(ask(0, how=LATER, size=91))
        assert server.budget.used == 100 * DECODED
        peer.send(ask(1, PRODUCE, size=91))
        assert server.budget.used == 100 * DECODED + 100, "one that is held is the bytes it is"
        script.finish(0)
        assert server.budget.used == 0

    async def test_a_large_frame_waits_for_its_turn_and_is_read_then(self, script: Script) -> None:
        server = a_server(script, self.LIMITS)  # type: ignore[arg-type]
        first, second, third = Peer(server), Peer(server), Peer(server)
        begun = (90_000).to_bytes(4, "big") + bytes(5_000)
        first.feed(begun)
        second.feed(begun)
        third.feed(begun)
        assert server.budget.used == 180_000
        assert (first.transport.reading, third.transport.reading) == (True, False)
        first.connection.abort()
        first.transport._lose()
        await turns()
        assert third.transport.reading
        third.feed(ask(3)[:9] + bytes(100))
        assert server.budget.used == 180_000

    async def test_a_frame_that_comes_slowly_is_closed_only_while_others_wait_for_its_room(
        self, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = a_server(script, self.LIMITS)  # type: ignore[arg-type]
        slow, quick, third = Peer(server), Peer(server), Peer(server)
        begun = (90_000).to_bytes(4, "big")
        start = server.now()
        quick.send(ask(0))
        slow.feed(begun + bytes(40))
        quick.feed(begun + bytes(9_000))
        slow.connection.check_timeouts(start + 5)
        assert not slow.transport.closed
        third.feed(begun)
        assert not third.transport.reading
        with caplog.at_level(logging.INFO):
            for peer in (slow, quick, third):
                peer.connection.check_timeouts(start + 5)
        assert (slow.transport.closed, quick.transport.closed) == (True, False)
        assert "others wait for its room" in caplog.text
        assert "40 of 90000 bytes" in caplog.text
        await turns()
        assert third.transport.reading
        quick.connection.check_timeouts(start + 50)
        assert not quick.transport.closed, "nobody waits any more"

    async def test_a_frame_that_has_just_begun_is_not_slow(self, script: Script) -> None:
        server = a_server(script, self.LIMITS)  # type: ignore[arg-type]
        peers = [Peer(server) for _ in range(3)]
        start = server.now()
        for peer in peers:
            peer.feed((90_000).to_bytes(4, "big"))
        for peer in peers:
            peer.connection.check_timeouts(start + GRACE)
        assert not any(peer.transport.closed for peer in peers)

    async def test_when_it_is_exhausted_nobody_is_read_until_there_is_room(
        self, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = a_server(script, self.LIMITS)  # type: ignore[arg-type]
        idle, fresh = Peer(server), Peer(server)
        idle.send(ask(0))
        busy = [Peer(server) for _ in range(3)]
        for number, peer in enumerate(busy):
            peer.send(ask(number, how=LATER, size=3_000))
        assert server.budget.exhausted
        assert [peer.transport.reading for peer in (idle, fresh, *busy)] == [False] * 5
        assert caplog.text.count("limits.max_total_in_flight_bytes): reading stops") == 1
        fresh.connection.check_timeouts(server.now() + 1000)
        assert not fresh.transport.closed, "it is not the client that is late"
        for number in range(3):
            script.finish(number)
        assert [peer.transport.reading for peer in (idle, fresh, *busy)] == [True] * 5
        assert server.budget.used == 0

    @pytest.mark.parametrize("seed", range(10))
    async def test_nothing_of_it_is_left_when_all_are_gone(self, script: Script, seed: int) -> None:
        rng = random.Random(seed)
        server = a_server(script, self.LIMITS)  # type: ignore[arg-type]
        peers = [Peer(server) for _ in range(6)]
        begun: set[Peer] = set()  # a frame that is not whole
        numbers = iter(range(1000))
        for _ in range(120):
            peer = rng.choice(peers)
            if rng.random() < 0.5 and script.open:
                script.open.pop(rng.choice(list(script.open))).resolve(script.answer(1))
            elif not peer.transport.closed:
                key, how = rng.choice((PRODUCE, METADATA)), rng.choice((NOW, LATER))
                frame = framed(ask(next(numbers), key, how=how, size=rng.choice((5, 9_000, 60_000))))
                if peer in begun:
                    peer.transport.abort()
                elif rng.random() < 0.9:
                    peer.feed(frame)
                else:
                    begun.add(peer)
                    peer.feed(frame[: rng.randrange(1, len(frame))])
        for peer in peers:
            if not peer.transport.closed:
                peer.transport.abort()
        await turns()
        assert server.connections == set()
        assert server.budget.used == 0
        assert not server.budget.contended


class TestEnds:
    @pytest.mark.parametrize("how", [REFUSED, BROKEN])
    async def test_a_request_that_cannot_be_answered_ends_the_connection_after_the_answers_before_it(
        self, peer: Peer, script: Script, how: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            peer.send(ask(0), ask(1), ask(2, how=how), ask(3))
        assert script.started == [0, 1, 2]
        assert peer.answered == [0, 1]
        assert peer.transport.closed
        closing = [record.getMessage() for record in caplog.records if "closing" in record.getMessage()]
        assert len(closing) == 1
        assert [bool(record.exc_info) for record in caplog.records].count(True) == (how == BROKEN)
        await turns()
        assert peer.server.connections == set()

    @pytest.mark.parametrize("how", [REFUSED, BROKEN])
    async def test_one_that_was_held_ends_it_too(self, peer: Peer, script: Script, how: int) -> None:
        peer.send(ask(0, how=LATER), ask(1), ask(2, how=how), ask(3))
        script.finish(0)
        assert script.started == [0, 1, 2]
        assert peer.answered == [0, 1]
        assert peer.transport.closed

    @pytest.mark.parametrize("how", [REFUSED, BROKEN])
    async def test_one_that_was_held_gives_its_bytes_back(self, peer: Peer, script: Script, how: int) -> None:
        peer.send(ask(0, how=LATER), ask(1, how=how, size=50_000))
        assert peer.server.budget.used > 50_000
        script.finish(0)
        await turns()
        assert peer.server.connections == set()
        assert peer.server.budget.used == 0

    @pytest.mark.parametrize("error", [Unanswerable("no"), ZeroDivisionError("bug")])
    async def test_an_answer_that_fails_ends_it_after_those_before_it(
        self, peer: Peer, script: Script, error: Exception
    ) -> None:
        peer.send(*[ask(number, PRODUCE, how=LATER) for number in range(3)])
        script.open[1].fail(error)
        assert not peer.transport.closed
        script.finish(0)
        assert peer.answered == [0]
        assert peer.transport.closed
        script.finish(2)
        await turns()
        assert peer.answered == [0]

    async def test_after_the_end_nothing_is_read_or_started(self, peer: Peer, script: Script) -> None:
        peer.send(ask(0, how=LATER), ask(1))
        peer.connection.close("a test")
        peer.connection.buffer_updated(13)
        script.finish(0)
        await turns()
        assert script.started == [0]
        assert peer.answered == []

    async def test_a_client_that_goes_away_abandons_what_it_waits_for(
        self, peer: Peer, script: Script
    ) -> None:
        peer.send(ask(0, PRODUCE, how=LATER), ask(1, PRODUCE), ask(2, PRODUCE, how=LATER))
        told: list[int] = []
        for number in (0, 2):
            script.open[number].on_abandon = partial(told.append, number)
        peer.transport.abort()
        await turns()
        assert told == [0, 2]
        script.finish(0)
        assert peer.answered == []

    async def test_a_client_that_sends_nothing_more_still_gets_its_answers(
        self, peer: Peer, script: Script
    ) -> None:
        peer.send(ask(0, how=LATER), ask(1))
        assert peer.connection.eof_received() is True
        assert not peer.transport.closed
        script.finish(0)
        assert peer.answered == [0, 1]
        assert peer.transport.closed

    async def test_a_client_that_ends_between_requests_is_not_worth_a_line(
        self, peer: Peer, caplog: pytest.LogCaptureFixture
    ) -> None:
        peer.send(ask(0))
        with caplog.at_level(logging.DEBUG):
            assert peer.connection.eof_received() is False
        assert caplog.records == []
        assert peer.transport.closed

    @pytest.mark.parametrize(
        ("data", "arrived"),
        [(b"\0\0", "within its length"), (b"\0\0\0\x50abc", "3 of 80 bytes")],
    )
    async def test_a_client_that_ends_within_a_frame_is(
        self, peer: Peer, data: bytes, arrived: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        peer.feed(data)
        with caplog.at_level(logging.INFO):
            assert peer.connection.eof_received() is False
        assert arrived in caplog.text
        assert peer.transport.closed

    async def test_draining_answers_what_was_asked_and_reads_no_more(
        self, peer: Peer, script: Script
    ) -> None:
        peer.send(ask(0, how=LATER), ask(1))
        peer.connection.drain()
        assert not peer.transport.reading
        assert not peer.transport.closed
        script.finish(0)
        assert peer.answered == [0, 1]
        assert peer.transport.closed

    async def test_draining_closes_what_is_idle_at_once(self, peer: Peer) -> None:
        peer.send(ask(0))
        peer.connection.drain()
        assert peer.transport.closed

    async def test_too_many_connections(self, script: Script, caplog: pytest.LogCaptureFixture) -> None:
        server = a_server(script, Limits(max_connections=2))  # type: ignore[arg-type]
        peers = [Peer(server) for _ in range(3)]
        assert [peer.transport.closed for peer in peers] == [False, False, True]
        assert "more than 2 connections (limits.max_connections)" in caplog.text
        peers[0].transport.abort()
        await turns()
        assert len(server.connections) == 1
        assert not Peer(server).transport.closed

    async def test_too_many_connections_of_one_address(self, script: Script) -> None:
        server = a_server(script, Limits(max_connections_per_address=1))  # type: ignore[arg-type]
        first, second = Peer(server), Peer(server)
        assert (first.transport.closed, second.transport.closed) == (False, True)
        await turns()
        first.transport.abort()
        await turns()
        assert not Peer(server).transport.closed
        assert server._per_address == {"192.0.2.7": 1}


class TestIdleness:
    async def test_a_request_under_way_is_work(self, script: Script) -> None:
        peer = a_peer(script, idle_timeout=5)
        start = peer.server.now()
        peer.send(ask(0, how=LATER))
        peer.connection.check_timeouts(start + 4)
        peer.connection.check_timeouts(start + 100)
        script.finish(0)
        peer.connection.check_timeouts(start + 104)
        assert not peer.transport.closed
        peer.connection.check_timeouts(start + 106)
        assert peer.transport.closed

    async def test_a_client_that_reads_its_answers_is_at_work_and_one_that_does_not_is_not(
        self, script: Script
    ) -> None:
        peer = a_peer(script, idle_timeout=5)
        start = peer.server.now()
        script.size = 5000
        peer.transport.client_reads = False
        peer.send(ask(0))
        peer.connection.check_timeouts(start + 1)
        del peer.transport.unsent[:100]
        peer.connection.check_timeouts(start + 5)
        peer.connection.check_timeouts(start + 9)
        assert not peer.transport.aborted
        peer.connection.check_timeouts(start + 11)
        assert peer.transport.aborted

    async def test_one_that_was_closed_before_an_answer_came_is_not_waited_for(self, script: Script) -> None:
        peer = a_peer(script, idle_timeout=5)
        peer.transport.client_reads = False
        start = peer.server.now()
        requests = (NOW, LATER, REFUSED)
        peer.send(*[ask(number, PRODUCE, how=how) for number, how in enumerate(requests)])
        script.finish(1)
        peer.connection.check_timeouts(start + 1)
        peer.connection.check_timeouts(start + 20)
        assert peer.transport.aborted
        await turns()
        assert peer.server.connections == set()

    async def test_a_frame_has_its_time_and_more_as_it_arrives(self, script: Script) -> None:
        frame = framed(ask(0, size=3 * SLOWEST))
        for arrived, allowed in ((100, 5.0), (2 * SLOWEST, 7.0)):
            peer = a_peer(script, frame_timeout=5, idle_timeout=0)
            start = peer.server.now()
            peer.feed(frame[:arrived])
            peer.connection.check_timeouts(start + allowed - 0.5)
            assert not peer.transport.closed
            peer.connection.check_timeouts(start + allowed + 1)
            assert peer.transport.closed

    async def test_an_idle_client_that_does_not_read_is_not_waited_for(
        self, peer: Peer, script: Script
    ) -> None:
        script.size = 5000
        peer.transport.client_reads = False
        peer.send(ask(0))
        peer.connection.expire("idle")
        assert peer.transport.aborted
        await turns()
        assert peer.server.connections == set()

    async def test_one_that_was_closed_and_does_not_read_is_not_waited_for_either(
        self, peer: Peer, script: Script
    ) -> None:
        script.size = 5000
        peer.transport.client_reads = False
        peer.send(ask(0), ask(1, how=REFUSED))
        await turns()
        assert peer.server.connections
        peer.connection.expire("idle")
        await turns()
        assert peer.server.connections == set()

    async def test_the_server_closes_the_idle_and_the_stuck_and_lets_the_busy_be(
        self, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = a_server(script, Limits(idle_timeout=0.04))  # type: ignore[arg-type]
        idle, stuck, busy = Peer(server), Peer(server), Peer(server)
        stuck.transport.client_reads = False
        for number, peer in enumerate((idle, stuck)):
            peer.send(ask(number))
        busy.send(ask(3, how=LATER))
        with caplog.at_level(logging.INFO), anyio.move_on_after(0.5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(
                    Background(SystemClock()).every, "looking", server.check_interval, server.check_timeouts
                )
                while len(server.connections) > 1:  # noqa: ASYNC110 - nobody tells of it
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
        assert server.connections == {busy.connection}
        assert caplog.text.count("idle for 0.04 s (limits.idle_timeout)") == 2

    async def test_a_connection_that_cannot_be_looked_at_keeps_none_from_being_closed(
        self, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = a_server(script, Limits(idle_timeout=10))  # type: ignore[arg-type]
        peers = [Peer(server) for _ in range(3)]
        for peer in peers:
            peer.send(ask(0))
        monkeypatch.setattr(peers[1].transport, "get_write_buffer_size", lambda: 1 // 0)
        now = server.now()
        for later in (0, 11, 12):
            monkeypatch.setattr(server, "now", lambda later=later: now + later)
            with pytest.raises(PartlyFailed, match="ZeroDivisionError"):
                await server.check_timeouts()
        await turns()
        assert server.connections == {peers[1].connection}


class TestWithTheRealDispatcher:
    def produce(self, kit: Kit, number: int, data: bytes | bytearray, acks: int = -1) -> bytearray:
        part = TopicProduceData("t", ZERO_UUID, [PartitionProduceData(0, data)])
        return a_frame(PRODUCE, 9, number, ProduceRequest(None, acks, 30_000, [part]))

    async def test_requests_of_several_kinds_in_a_row(self, kit: Kit) -> None:
        log = await kit.log()
        peer = Peer(a_server(kit.dispatcher))
        fetch = FetchRequest(
            max_wait_ms=0,
            min_bytes=1,
            max_bytes=MiB,
            topics=[FetchTopic("t", ZERO_UUID, [FetchPartition(0, partition_max_bytes=MiB)])],
        )
        frames = [
            a_frame(18, 3, 1, ApiVersionsRequest("x", "1")),
            a_frame(METADATA, 9, 2, MetadataRequest(None)),
            self.produce(kit, 3, batch("a" * 40_000)),
            self.produce(kit, 4, batch("b"), acks=0),
            a_frame(FETCH, 12, 5, fetch),
        ]
        for piece in (1 << 20, 100):
            peer.transport.sent.clear()
            peer.send(*frames, piece=piece)
            assert peer.answered == [1, 2, 3, 5]
        assert log.high_watermark == 4
        assert values_of(log.read_now(0, MiB)) == [b"a" * 40_000, b"b"] * 2

    async def test_acks_zero_with_an_error_ends_the_connection(
        self, kit: Kit, caplog: pytest.LogCaptureFixture
    ) -> None:
        await kit.log()
        peer = Peer(a_server(kit.dispatcher))
        peer.send(self.produce(kit, 1, batch("a")), self.produce(kit, 2, batch("b")[:-3], acks=0))
        assert peer.answered == [1]
        assert peer.transport.closed
        assert "Produce with acks=0 failed" in caplog.text

    async def test_acks_zero_with_an_error_in_a_slow_store_ends_this_connection_alone(
        self, slow: Kit, store: SlowStore
    ) -> None:
        await slow.log()
        server = a_server(slow.dispatcher)
        peer, other = Peer(server), Peer(server)
        peer.send(self.produce(slow, 1, batch("a"), acks=0), self.produce(slow, 2, batch("b")))
        other.send(self.produce(slow, 3, batch("c")))
        (await store.arrived()).fail(OSError("disk full"))
        await turns()
        assert peer.transport.closed
        assert not other.transport.closed
        assert other.answered == [3]
        store.patient = False
        other.send(self.produce(slow, 4, batch("d")))
        await turns()
        assert other.answered == [3, 4]

    async def test_a_client_that_goes_away_leaves_its_appends_and_takes_its_long_poll(
        self, slow: Kit, store: SlowStore
    ) -> None:
        log = await slow.log()
        peer, poller = Peer(a_server(slow.dispatcher)), Peer(a_server(slow.dispatcher))
        peer.send(self.produce(slow, 1, batch("a")))
        fetch = FetchRequest(
            max_wait_ms=2**31 - 1,
            min_bytes=1,
            max_bytes=MiB,
            topics=[FetchTopic("t", ZERO_UUID, [FetchPartition(0, partition_max_bytes=MiB)])],
        )
        poller.send(a_frame(FETCH, 12, 5, fetch))
        await turns()
        assert log.waiting
        for each in (peer, poller):
            each.transport.abort()
        await turns()
        assert not log.waiting
        (await store.arrived()).release()
        await turns()
        assert log.high_watermark == 1

    async def test_a_batch_that_was_held_is_stored_as_it_was_sent(self, slow: Kit, store: SlowStore) -> None:
        log = await slow.log()
        peer = Peer(a_server(slow.dispatcher, Limits(max_in_flight_requests=1)))
        peer.send(*[self.produce(slow, number, batch(f"v{number}" * 50)) for number in range(4)])
        for _ in range(4):
            (await store.arrived()).release()
            await turns()
        assert peer.answered == [0, 1, 2, 3]
        assert values_of(await log.read(0, MiB)) == [f"v{number}".encode() * 50 for number in range(4)]
        log.append(view(batch("x")), False)
        (await store.arrived()).release()
        await turns()
