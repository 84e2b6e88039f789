"""What one request costs in instructions of the processor: the same in every run, on a busy machine too.

``python -m benchmarks.instructions`` runs a gateway without sockets under valgrind (callgrind), once with
few requests and once with many; the difference, divided by how many more they were, is what one costs.
Counted is what happens in user space: interpreter, codecs, log, memory store. Not counted: the kernel and
the event loop, which ``benchmarks.request_cost`` has.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOPIC = "cost"
FEW, MANY = 200, 1200
KINDS = ("produce", "five produces", "idempotent produce", "fetch", "session fetch", "empty session fetch")


class Sink:
    """A transport that takes everything."""

    def write(self, data: object) -> None:
        pass

    def writelines(self, data: object) -> None:
        pass

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 9092) if name in ("peername", "sockname") else None

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    resume_reading = close = abort = pause_reading


def requests(kind: str) -> Callable[[int], bytes]:
    """The bytes of the n-th request of a kind."""
    from benchmarks.raw import frame, part
    from kgw_core import wire
    from kgw_core.records import build_batch

    def produced(sequence: int = -1) -> bytes:
        now = 1_700_000_000_000
        options: dict[str, Any] = {}
        if sequence >= 0:
            options = {"producer_id": 7, "producer_epoch": 0, "base_sequence": sequence}
        batch = bytes(build_batch([(None, b"x" * 100, now)], **options))
        request: Any = wire.message("ProduceRequest")(acks=-1, timeout_ms=30_000)
        data = part(request, "PartitionProduceData")(0, batch)
        request.topic_data = [part(request, "TopicProduceData")(TOPIC, partition_data=[data])]
        return frame(request, 10)

    def fetched(session: int, epoch: int, *, offset: int | None) -> bytes:
        request: Any = wire.message("FetchRequest")(max_wait_ms=0, min_bytes=1, max_bytes=1 << 20)
        request.session_id, request.session_epoch = session, epoch
        if offset is not None:
            wanted = part(request, "FetchPartition")(0, fetch_offset=offset, partition_max_bytes=1)
            request.topics = [part(request, "FetchTopic")(TOPIC, partitions=[wanted])]
        return frame(request, 12)

    once = produced()
    if kind == "produce":
        return lambda _: once
    if kind == "five produces":
        return lambda _: once * 5
    if kind == "idempotent produce":
        return produced
    again = fetched(0, -1, offset=0)
    if kind == "fetch":
        return lambda _: again
    sessions: dict[int, int] = {}

    def in_session(number: int, offset: int | None) -> bytes:
        return fetched(sessions[0], number, offset=offset) if number else fetched(0, 0, offset=0)

    def remember(session: int) -> None:
        sessions[0] = session

    made = (
        (lambda number: in_session(number, 0))
        if kind == "session fetch"
        else (lambda number: in_session(number, 1 if number == 1 else None))
    )
    made.remember = remember  # type: ignore[attr-defined]
    return made


async def serve(kind: str, count: int) -> None:
    """Hand ``count`` requests to a connection, as the event loop would."""
    from kgw_core import config
    from kgw_core.gateway import running
    from kgw_core.server.connection import Connection

    settings = config.dev(port=0, topics=[TOPIC], env={})
    async with running(settings) as gateway:
        (log,) = gateway.broker.catalog.by_name[TOPIC].partitions
        await log.open()
        connection = Connection(gateway.server, settings.listeners[0].name)
        connection.connection_made(Sink())  # type: ignore[arg-type] # all of a transport that is used

        def send(data: bytes) -> None:
            connection.get_buffer(-1)[: len(data)] = data
            connection.buffer_updated(len(data))

        made = requests("produce")
        for number in range(2):
            send(made(number))
        made = requests(kind)
        if hasattr(made, "remember"):
            send(made(0))
            (session,) = gateway.broker.fetch_sessions._sessions
            made.remember(session)
        first = int(hasattr(made, "remember"))
        data = [made(number) for number in range(first, first + MANY)]  # all of them, whatever is counted
        for item in data[:count]:
            send(item)
        connection.connection_lost(None)


def instructions(kind: str, count: int, python: str, folder: Path) -> int:
    """Those of a whole process."""
    out = folder / f"callgrind.{count}"
    done = subprocess.run(
        [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={out}",
            python,
            "-m",
            "benchmarks.instructions",
            "--serve",
            kind,
            str(count),
        ],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise RuntimeError(f"valgrind failed: {done.stderr[-500:]}")
    return int(found[1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; all if left out")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that is counted")
    parser.add_argument("--serve", nargs=2, metavar=("KIND", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        import anyio

        anyio.run(serve, options.serve[0], int(options.serve[1]))
        return 0
    if shutil.which("valgrind") is None:
        print("valgrind is not installed", file=sys.stderr)
        return 1
    for kind in options.kinds or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            few, many = (instructions(kind, count, options.python, Path(folder)) for count in (FEW, MANY))
        print(f"{kind:22} {(many - few) / (MANY - FEW):10,.0f} instructions", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
