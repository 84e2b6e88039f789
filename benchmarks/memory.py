"""What things cost a server in memory: its RSS before and after, once the rest has been done before."""

from __future__ import annotations

import mmap
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from benchmarks import procfs, raw
from benchmarks.peers.base import Server

DEPTH = 50
SETTLED = 64 << 10
"""RSS that moves by less than this many bytes in 0.2 s has settled."""


def settled(server: Server) -> int:
    """RSS of the server once it stands still, or after 3 s."""
    last = procfs.memory(server.pid).rss
    for _ in range(15):
        time.sleep(0.2)
        now = procfs.memory(server.pid).rss
        if abs(now - last) < SETTLED:
            return now
        last = now
    return last


def warm(size: int) -> None:
    """Touch ``size`` bytes of the machine's memory, at most half of what is free, and give them back.

    In a virtual machine the host gives a page when it is first touched, which costs up to 20 us of CPU time
    that count as the server's; afterwards it is there, whichever server gets it next.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
    size = min(size, free // 2)
    if size > 0 and hasattr(mmap, "MAP_POPULATE"):
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        mmap.mmap(-1, size, flags=flags).close()


def idle_connections(server: Server, spec: Mapping[str, Any]) -> dict[str, float]:
    """KiB a connection that asked for ApiVersions and says nothing more."""
    hello = raw.api_versions_frame()
    held: list[socket.socket] = []

    def connect(count: int) -> None:
        for _ in range(count):
            client = raw.Client(server.address)
            client.sock.sendall(hello)
            client.receive()
            held.append(client.sock)

    try:
        connect(100)  # what is made once for all is made now
        before = settled(server)
        connect(spec["count"])
        after = settled(server)
    finally:
        for sock in held:
            sock.close()
    return {"kib": (after - before) / spec["count"] / 1024}


def retained(server: Server, spec: Mapping[str, Any]) -> dict[str, float]:
    """Bytes of RSS for each byte of record batches that a topic keeps."""
    batch = raw.sized_batch(spec["batch"])
    with raw.Client(server.address) as client:
        for topic, batches in (("warm", 2000), ("kept", spec["batches"])):
            client.create_topic(topic, 1)
            frames = [client.produce_frame(topic, 0, batch)]
            before = settled(server)
            client.pump(frames, batches, DEPTH)
        after = settled(server)
    return {"per_byte": (after - before) / (len(batch) * spec["batches"]), "batch": len(batch)}


def partitions(server: Server, spec: Mapping[str, Any]) -> dict[str, float]:
    """KiB a partition: just made, and with one small batch in it."""
    count = spec["count"]
    batch = raw.sized_batch(168)
    with raw.Client(server.address) as client:
        client.create_topic("warm", 100)
        client.pump([client.produce_frame("warm", index, batch) for index in range(100)], 100, DEPTH)
        before = settled(server)
        client.create_topic("many", count)
        made = settled(server)
        client.pump([client.produce_frame("many", index, batch) for index in range(count)], count, DEPTH)
        used = settled(server)
    return {"kib_made": (made - before) / count / 1024, "kib_used": (used - before) / count / 1024}


LOADS = {"idle_connections": idle_connections, "retained": retained, "partitions": partitions}
