"""A producer and a consumer beside an attack, in a process of their own: is anything wrong, do they stall?

They take turns: one record produced, and the same record fetched by a long poll on another connection. The
time from the one to the other is what a user would notice.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kgw_core import wire
from kgw_core.records import RecordBatch, build_batch, iter_batches, iter_records
from kgw_core.wire.base import Message
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from kgw_core.wire.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from kgw_core.wire.messages.request_header import RequestHeader
from tests.fuzz.blame import Machine

ROOT = Path(__file__).parents[2]
TOPIC = "healthy"
PRODUCE, FETCH = 9, 12
PAUSE = 0.004


@dataclass(frozen=True)
class Report:
    """What happened since the last one. ``worst``: the longest turn, seconds; ``blamed``: the longest without
    what was the machine's fault (:mod:`tests.fuzz.blame`)."""

    turns: int
    worst: float
    blamed: float
    errors: list[str]


class HealthyPair:
    """The process, as whoever started it sees it."""

    def __init__(self, address: tuple[str, int], pid: int = 0) -> None:
        command = [sys.executable, "-m", "tests.fuzz.healthy", address[0], str(address[1]), str(pid)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.report()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def report(self) -> Report:
        """What happened since the last call, at least one turn, one that is still under way included."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], 30)[0]:
            return Report(0, 30.0, 30.0, ["no answer within 30 s"])
        line = self._process.stdout.readline()
        if not line:
            return Report(0, 0.0, 0.0, [f"the pair ended with {self._process.wait()}"])
        return Report(**json.loads(line))


class _Connection:
    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, 25)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: Message, version: int) -> None:
        assert request.API_KEY is not None
        header = RequestHeader(request.API_KEY, version, 1, "healthy")
        head = wire.encode(header, wire.request_header_version(request.API_KEY, version))
        body = head + wire.encode(request, version)
        self._socket.sendall(struct.pack(">i", len(body)) + body)

    def receive(self) -> bytes:
        (size,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(size)[5:]  # both answers have flexible headers

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError("the gateway closed the connection")
            data += more
        return bytes(data)


class _Pair:
    def __init__(self, address: tuple[str, int]) -> None:
        self._producer, self._consumer = _Connection(address), _Connection(address)
        self._offset = -1
        self._turn = 0

    def turn(self) -> None:
        self._turn += 1
        value = b"%d" % self._turn
        if self._offset >= 0:
            self._ask_for(self._offset)
        batch = bytes(build_batch([(None, value, int(time.time() * 1000))]))
        data = TopicProduceData(TOPIC, partition_data=[PartitionProduceData(0, batch)])
        self._producer.send(ProduceRequest(None, -1, 30_000, [data]), PRODUCE)
        (topic,) = wire.decode(ProduceResponse, PRODUCE, self._producer.receive()).responses
        (answer,) = topic.partition_responses
        assert answer.error_code == 0, f"Produce got {answer.error_code}: {answer.error_message}"
        if self._offset < 0:
            self._offset = answer.base_offset
            self._ask_for(self._offset)
        assert answer.base_offset == self._offset, f"offset {answer.base_offset}, not {self._offset}"
        (fetched,) = wire.decode(FetchResponse, FETCH, self._consumer.receive()).responses
        part = fetched.partitions[0]
        assert part.error_code == 0, f"Fetch got {part.error_code}"
        batches = [RecordBatch(each.data) for each in iter_batches(part.records or b"")]
        assert len(batches) == 1, f"{len(batches)} batches came"
        batches[0].check_crc()
        assert [record.value for record in iter_records(batches[0])] == [value]
        self._offset += 1

    def _ask_for(self, offset: int) -> None:
        part = FetchPartition(0, fetch_offset=offset, partition_max_bytes=1 << 20)
        request = FetchRequest(
            max_wait_ms=30_000, min_bytes=1, max_bytes=1 << 20, topics=[FetchTopic(TOPIC, partitions=[part])]
        )
        self._consumer.send(request, FETCH)


def main(host: str, port: int, pid: int) -> None:
    pair = _Pair((host, port))
    machine = Machine(pid)
    turns, worst, blamed = 0, 0.0, 0.0
    errors: list[str] = []
    while True:
        machine.begin()
        began = time.perf_counter()
        try:
            pair.turn()
        except (AssertionError, OSError, wire.MalformedMessage) as error:
            errors.append(repr(error))
            time.sleep(0.05)
            try:
                pair = _Pair((host, port))
            except OSError as failure:
                errors.append(repr(failure))
        turns += 1
        took = time.perf_counter() - began
        worst = max(worst, took)
        if took > blamed:
            blamed = max(blamed, took - machine.fault())
        if not select.select([sys.stdin], [], [], PAUSE)[0]:
            continue
        if not sys.stdin.readline():
            return
        print(
            json.dumps({"turns": turns, "worst": worst, "blamed": blamed, "errors": errors[:5]}), flush=True
        )
        turns, worst, blamed, errors = 0, 0.0, 0.0, []


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
