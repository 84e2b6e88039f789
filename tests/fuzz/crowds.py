"""Many connections, and clients that ask without reading."""

from __future__ import annotations

import select
import socket
import struct
import time

from kgw_core import wire
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from tests.fuzz import seeds
from tests.fuzz.attack import ANSWERED, Attack, Finding, Link, framed
from tests.fuzz.batches import code_of, produce
from tests.fuzz.bombs import create_topic
from tests.fuzz.frames import HELLO, rounds
from tests.fuzz.message_sets import message_set

CROWD = 1000


def idle_connections(attack: Attack) -> None:
    """1,000 connections that asked once and stay."""
    for _ in rounds(attack, 1):
        links: list[Link] = []
        try:
            for _ in range(CROWD):
                link = attack.link()
                links.append(link)
                link.send(HELLO)
            for link in links:
                if not isinstance(link.answer(), bytes):
                    raise Finding("one of many connections was not answered")
                attack.count(ANSWERED)
            time.sleep(0.5)
        finally:
            for link in links:
                link.socket.close()


def connects_and_closes(attack: Attack) -> None:
    """1,000 connections that come and go, some with a reset, some with a request on the way."""
    for _ in rounds(attack, 1):
        for number in range(CROWD):
            with attack.link() as link:
                if number % 3 == 0:
                    link.send(HELLO)
                if number % 2:
                    linger = struct.pack("ii", 1, 0)
                    link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            attack.count("client went away")


def pipelined_unread(attack: Attack) -> None:
    """10,000 requests in one go, and their answers never read; then read after all: none is missing."""
    count = 10_000
    topics = [MetadataRequestTopic(name=f"no-such-topic-{at}") for at in range(40)]
    request = framed(seeds.header(3, 4) + wire.encode(MetadataRequest(topics, False), 4))
    data = memoryview(request * count)
    for _ in rounds(attack, 1):
        with attack.link(receive_buffer=4096) as link:
            at, last = 0, time.monotonic()
            link.socket.setblocking(False)
            while at < len(data) and time.monotonic() - last < 0.5:
                if select.select([], [link.socket], [], 0.05)[1]:
                    at += link.socket.send(data[at : at + 65_536])
                    last = time.monotonic()
            attack.requests += at // len(request)
            attack.count(f"reading stopped: {at < len(data)}")
            link.socket.setblocking(True)
            if at < len(data):
                for _ in range(at // len(request)):
                    if not isinstance(link.answer(), bytes):
                        raise Finding("an answer is missing")
                    attack.count(ANSWERED)


def large_answers_unread(attack: Attack) -> None:
    """20 connections that each ask for 50 MB, 200 times, and never read: memory stays within the limits."""
    topic = f"large-{attack.rng.randrange(10**9)}"
    with attack.link() as link:
        link.send(create_topic(topic))
        link.answer()
        value = attack.rng.randbytes(600_000)
        from kgw_core.records import build_batch

        batch = build_batch([(None, value, int(time.time() * 1000))])
        for _ in range(60):
            link.send(produce(topic, batch, 9))
            if code := code_of(link.answer(), 9):
                raise Finding(f"a good batch got {code}")
    part = FetchPartition(0, fetch_offset=0, partition_max_bytes=50 << 20)
    fetch = FetchRequest(
        -1, max_wait_ms=0, min_bytes=1, max_bytes=50 << 20, topics=[FetchTopic(topic, partitions=[part])]
    )
    old = framed(seeds.header(1, 3) + wire.encode(fetch, 3))  # converted for it: new memory
    new = framed(seeds.header(1, 11) + wire.encode(fetch, 11))
    for _ in rounds(attack, 1):
        links = [attack.link(receive_buffer=4096) for _ in range(20)]
        try:
            for number, link in enumerate(links):
                link.send((old if number < 4 else new) * 200)
            time.sleep(1.0)
            attack.count("not read")
        finally:
            for link in links:
                link.socket.close()


def claimed_memory(attack: Attack) -> None:
    """40 connections that each begin a frame of 100 MB and send a little: what is not sent costs nothing."""
    for _ in rounds(attack, 1):
        links = [attack.link() for _ in range(40)]
        try:
            for link in links:
                link.send(struct.pack(">i", 100 << 20) + bytes(10_000))
            time.sleep(0.5)
            attack.count("begun, not finished")
        finally:
            for link in links:
                link.socket.close()


def slow_store_of_requests(attack: Attack) -> None:
    """One connection pipelines what leaves the event loop (old message sets), as fast as it can."""
    frames = b"".join(produce("fuzz", message_set(attack.rng, 1, count=120), 1) for _ in range(200))
    for _ in rounds(attack, 1):
        with attack.link() as link:
            link.send(frames)
            for _ in range(200):
                if code := code_of(link.answer(), 1):
                    raise Finding(f"a good message set got {code}")
                attack.count(ANSWERED)
