"""What a fetch session saves: bytes each way and CPU time for a poll, with and without one.

A topic of 500 partitions (or as many as the first argument says), polled as a consumer at its end polls it:
nothing new, one partition with a record of 100 bytes, a tenth of them with one. In one process, on the memory
store, through ``Dispatcher.start``: no sockets. ``.venv/bin/python -m benchmarks.fetch_session_bytes``;
times compare within one run only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

from kgw_core import wire
from kgw_core.events import Client
from kgw_core.gateway import Gateway, running
from kgw_core.pending import Pending
from kgw_core.records.builder import build_batch
from kgw_core.testing.gateway import free_config
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.request_header import RequestHeader

TOPIC = "a-topic-of-usual-length"
VERSIONS = {12: "names", 17: "ids"}
ROUNDS = 15


class Poller:
    """A consumer at the end of all partitions of the topic, some of which have one record after that."""

    def __init__(self, gateway: Gateway, version: int, count: int) -> None:
        self.start = gateway.server.dispatcher.start
        self.sessions = gateway.broker.fetch_sessions
        self.version = version
        self.count = count
        self.client = Client(1, "127.0.0.1", 1, "PLAINTEXT", ("127.0.0.1", 9092))
        state = gateway.broker.catalog.by_name[TOPIC]
        self.names = (TOPIC, wire.ZERO_UUID) if version < 13 else ("", state.id_bytes)

    def frame(self, offsets: dict[int, int], **options: Any) -> memoryview:
        parts = [FetchPartition(index, 0, at, partition_max_bytes=1 << 20) for index, at in offsets.items()]
        topics = [FetchTopic(*self.names, parts)] if parts else []
        request = FetchRequest(
            **({"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 50 << 20} | options), topics=topics
        )
        header = wire.encode(RequestHeader(1, self.version, 1, "bench"), 2)
        return memoryview(header + wire.encode(request, self.version))

    def ask(self, frame: memoryview) -> bytes:
        answer = self.start(frame, self.client, False)
        assert answer is not None and not isinstance(answer, Pending)
        return answer if isinstance(answer, bytes) else b"".join(answer)

    def full(self, offsets: dict[int, int]) -> dict[str, float]:
        frame = self.frame(offsets)
        return self.measured(frame, lambda: self.start(frame, self.client, False))

    def incremental(self, offsets: dict[int, int], changed: dict[int, int]) -> dict[str, float]:
        """``changed``: the positions that the request has to tell."""
        begun = self.ask(self.frame(dict.fromkeys(offsets, 1), session_epoch=0))
        (id,) = struct.unpack_from(">i", begun, 9 + 6)
        session = self.sessions.get(id)
        assert session is not None
        frame = self.frame(changed, session_id=id, session_epoch=1)

        def ask() -> None:
            session.epoch = 1  # so that one frame serves again and again
            self.start(frame, self.client, False)

        ask()
        session.epoch = 1
        figures = self.measured(frame, ask)
        self.sessions.close(id)
        return figures

    def measured(self, frame: memoryview, ask: Callable[[], object]) -> dict[str, float]:
        answer = len(self.ask(frame))
        times = []
        for _ in range(ROUNDS):
            before = time.process_time()
            for _ in range(10):
                ask()
            times.append((time.process_time() - before) / 10 * 1e6)
        return {"request_bytes": len(frame) + 4, "answer_bytes": answer, "cpu_us": round(min(times), 1)}


async def main() -> None:
    logging.disable(logging.CRITICAL)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    record = build_batch([(None, b"x" * 100)])
    table: dict[str, Any] = {}
    async with running(free_config(f"{TOPIC}:{count}")) as gateway:
        for log in gateway.broker.catalog.by_name[TOPIC].partitions:
            await log.open()
            log.append(memoryview(bytearray(record)), True)
        for version, names in VERSIONS.items():
            poller = Poller(gateway, version, count)
            for with_data in (0, 1, count // 10):
                behind = dict.fromkeys(range(with_data), 0)
                offsets = dict.fromkeys(range(count), 1) | behind
                table[f"topics by {names}, {with_data} of {count} have a record"] = {
                    "full": poller.full(offsets),
                    "incremental": poller.incremental(offsets, behind),
                }
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    asyncio.run(main())
