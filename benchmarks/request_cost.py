"""What one request costs the server: CPU time of its process, all system calls included.

Starts a gateway, sends it prepared frames over a socket, and reads the process's CPU clock before and
after. Run it as ``.venv/bin/python -m benchmarks.request_cost``; figures compare within one run only.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kgw_core.records.builder import build_batch
from kgw_core.records.record import Record
from kgw_core.wire import decode, encode, message

_TICKS = os.sysconf("SC_CLK_TCK")
TOPIC = "cost"


@contextmanager
def gateway() -> Iterator[tuple[int, tuple[str, int]]]:
    """A gateway of its own: its process id and address."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "kgw_core",
                "dev",
                "--port",
                "0",
                "--topic",
                TOPIC,
                "--ready-file",
                str(ready),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not ready.exists():
                time.sleep(0.01)
            host, _, port = ready.read_text().strip().rpartition(":")
            yield process.pid, (host, int(port))
        finally:
            process.terminate()
            process.wait()


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, from the scheduler's own clock (ns) where there is one."""
    total = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0]) / 1e9
    return total


def frame(name: str, key: int, version: int, request: object) -> bytes:
    header = encode(
        message("RequestHeader")(request_api_key=key, request_api_version=version, client_id="cost"), 2
    )
    body = header + encode(request, version)  # type: ignore[arg-type]
    return struct.pack(">i", len(body)) + body


def produce_frame(batch: bytes, version: int = 11) -> bytes:
    request = message("ProduceRequest")(acks=-1, timeout_ms=1000)
    module = sys.modules[type(request).__module__]
    request.topic_data = [
        module.TopicProduceData(TOPIC, partition_data=[module.PartitionProduceData(0, batch)])
    ]
    return frame("Produce", 0, version, request)


def fetch_frame(offset: int, max_bytes: int, version: int = 12) -> bytes:
    request = message("FetchRequest")(max_wait_ms=0, min_bytes=1, max_bytes=max_bytes)
    module = sys.modules[type(request).__module__]
    part = module.FetchPartition(0, fetch_offset=offset, partition_max_bytes=max_bytes)
    request.topics = [module.FetchTopic(TOPIC, partitions=[part])]
    return frame("Fetch", 1, version, request)


def receive(sock: socket.socket, buffer: bytearray) -> int:
    """Read one answer; return its size."""
    view = memoryview(buffer)
    got = 0
    while got < 4:
        got += sock.recv_into(view[got:4])
    size = int.from_bytes(buffer[:4], "big")
    got = 0
    while got < size:
        got += sock.recv_into(view[4 + got : 4 + size])
    return size


def measure(pid: int, sock: socket.socket, request: bytes, count: int, depth: int) -> tuple[float, float]:
    """Microseconds of server CPU, and of wall time, for each of ``count`` requests, ``depth`` in flight."""
    buffer = bytearray(4 << 20)
    before, start = cpu_seconds(pid), time.perf_counter()
    sent = received = 0
    while received < count:
        while sent < count and sent - received < depth:
            sock.sendall(request)
            sent += 1
        receive(sock, buffer)
        received += 1
    wall = time.perf_counter() - start
    return (cpu_seconds(pid) - before) / count * 1e6, wall / count * 1e6


def main() -> None:
    small = build_batch([Record(None, b"x" * 100, int(time.time() * 1000))])
    large = build_batch([Record(None, b"x" * 1000, int(time.time() * 1000)) for _ in range(780)])
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    results: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        with gateway() as (pid, address):
            sock = socket.create_connection(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            small_produce, large_produce = produce_frame(small), produce_frame(large)
            sock.sendall(small_produce)
            buffer = bytearray(4 << 20)
            size = receive(sock, buffer)
            answer = decode(message("ProduceResponse"), 11, bytes(buffer[4 + 5 : 4 + size]))
            assert answer.responses[0].partition_responses[0].error_code == 0  # type: ignore[attr-defined]
            for name, request, count, depth in (
                ("produce 100 B, 1 in flight", small_produce, 20_000, 1),
                ("produce 100 B, 5 in flight", small_produce, 40_000, 5),
                ("fetch 100 B, 1 in flight", fetch_frame(0, 1), 20_000, 1),
                ("fetch 100 B, 5 in flight", fetch_frame(0, 1), 40_000, 5),
                ("produce 800 KB, 1 in flight", large_produce, 600, 1),
            ):
                results.setdefault(name, []).append(measure(pid, sock, request, count, depth))
            offset = 20_000 + 40_000 + 1
            results.setdefault("fetch 800 KB, 1 in flight", []).append(
                measure(pid, sock, fetch_frame(offset, 900_000), 600, 1)
            )
    table = {
        name: {
            "server_cpu_us": round(statistics.median(cpu for cpu, _ in values), 1),
            "wall_us": round(statistics.median(wall for _, wall in values), 1),
        }
        for name, values in results.items()
    }
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
