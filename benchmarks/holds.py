"""How long one thing holds up all others where there is very much of it: 100,000 partitions, large requests.

``python -m benchmarks.holds`` starts a gateway, makes partitions, fills them, asks about all of them; a
healthy pair of clients goes on beside it. For each step it prints

- ``wait``: the longest that the pair waited (ms), and how much of it is not the machine's fault;
- ``hold``: the most CPU time that the event loop's thread spent between two of its ticks (ms): everybody else
  waits for that, whatever the machine does beside it;
- ``collector``: the longest look of CPython's garbage collector (CPU time, ms), and how many looks there were
  at each generation;
- ``tracked`` and ``frozen``: objects that a full look has to do with, and those that it never sees again.

It fails where the pair waited, or the loop was held, for more than ``--most`` ms.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import raw
from kgw_core import wire
from tests.fuzz.healthy import TOPIC as HEALTHY
from tests.fuzz.healthy import HealthyPair

TICK = 0.002
LONG, DEPTH = 0.03, 6
"""Seconds of a hold after which it is told where the loop is, with so many of its callers."""
FOLDER = Path(__file__).parents[1]
CONFIG = """
[[listeners]]
port = 0

[[topics.create]]
name = "{healthy}"

[limits]
max_partitions = {most}

[storage]
{storage}
"""
STORAGE = {"memory": 'use = "memory"', "sqlite": 'use = "sqlite"\npath = "{folder}/kgw.db"'}


# -- inside the gateway's process


class Watch:
    """What holds the loop of this process; a line of JSON into ``report`` at each SIGUSR1."""

    def __init__(self, report: Path) -> None:
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._forget()
        self._looked = 0
        gc.callbacks.append(self._collecting)
        self._loop.add_signal_handler(signal.SIGUSR1, self._tell)
        self._loop.call_later(TICK, self._tick)
        self._seen: Counter[str] = Counter()
        threading.Thread(target=self._look, args=(threading.get_ident(),), daemon=True).start()

    def _look(self, loop: int) -> None:
        """Where the loop is while it is held for long."""
        while True:
            time.sleep(TICK)
            if time.perf_counter() - self._ticked > LONG:
                try:
                    frames = traceback.extract_stack(sys._current_frames()[loop])
                except AttributeError:  # CPython 3.11 walks from a coroutine to what awaits it, now and then
                    continue
                names = [f"{Path(each.filename).stem}:{each.lineno} {each.name}" for each in frames]
                self._seen[" < ".join(names[: -DEPTH - 1 : -1])] += 1

    def _forget(self) -> None:
        self.hold = 0
        self.late = 0.0
        self.looks = [0, 0, 0]
        self.longest_look = 0
        self._ticked, self._spent = time.perf_counter(), time.thread_time_ns()

    def _tick(self) -> None:
        now, spent = time.perf_counter(), time.thread_time_ns()
        self.hold = max(self.hold, spent - self._spent)
        self.late = max(self.late, now - self._ticked - TICK)
        self._ticked, self._spent = now, spent
        self._loop.call_later(TICK, self._tick)

    def _collecting(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._looked = time.thread_time_ns()
        else:
            self.looks[info["generation"]] += 1
            self.longest_look = max(self.longest_look, time.thread_time_ns() - self._looked)

    def _tell(self) -> None:
        self._tick()
        told = {
            "hold": self.hold / 1e6,
            "late": self.late * 1e3,
            "look": self.longest_look / 1e6,
            "looks": self.looks,
            "tracked": len(gc.get_objects()),
            "frozen": gc.get_freeze_count(),
            "seen": self._seen.most_common(8),
        }
        with self._report.open("a") as file:
            file.write(json.dumps(told) + "\n")
        self._seen.clear()
        self._forget()


def serve(report: str, arguments: list[str]) -> None:
    """The command ``kgw``, watched."""
    from kgw_core.cli import main as command
    from kgw_core.cli import running as cli

    run = cli.running

    @asynccontextmanager
    async def watched(*args: Any, **options: Any) -> AsyncIterator[Any]:
        async with run(*args, **options) as gateway:
            Watch(Path(report))
            yield gateway

    cli.running = watched  # type: ignore[assignment] # the same, and a watch beside it
    command(arguments, prog_name="kgw")


# -- outside


class Gateway:
    """A watched gateway with a healthy pair beside it."""

    def __init__(self, process: subprocess.Popen[bytes], report: Path, pair: HealthyPair, show: bool) -> None:
        self._process = process
        self._report = report
        self._pair = pair
        self._show = show
        self._read = 0
        self.worst = 0.0

    def forget(self) -> None:
        self._pair.report()
        self._watched()

    def _watched(self) -> dict[str, Any]:
        os.kill(self._process.pid, signal.SIGUSR1)
        while True:
            text = self._report.read_text() if self._report.exists() else ""
            if text.count("\n") > self._read:
                told: dict[str, Any] = json.loads(text.splitlines()[self._read])
                self._read += 1
                return told
            time.sleep(0.01)

    def tell(self, step: str, seconds: float) -> None:
        """What happened since the last time."""
        pair, watched = self._pair.report(), self._watched()
        blamed = max(pair.blamed, 0.0) * 1e3
        looks = "/".join(map(str, watched["looks"]))
        print(
            f"{step:<42}{seconds:>8.2f} s  wait {pair.worst * 1e3:>6.0f} ({blamed:.0f})  "
            f"hold {watched['hold']:>6.1f}  collector {watched['look']:>6.1f} ({looks})  "
            f"tracked {watched['tracked']:>9,}  frozen {watched['frozen']:>9,}",
            flush=True,
        )
        self._pair.report()  # telling holds the loop, too
        for place, count in watched["seen"] if self._show else ():
            print(f"{count:>10} x {place}")
        if pair.errors:
            raise RuntimeError(f"{step}: the healthy pair saw {pair.errors}")
        self.worst = max(self.worst, blamed, watched["hold"])


@contextmanager
def running(
    storage: str, partitions: int, settings: str, show: bool
) -> Iterator[tuple[Gateway, raw.Address]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = CONFIG.format(
            healthy=HEALTHY,
            most=2 * partitions,
            storage=STORAGE[storage].format(folder=folder),
        )
        (folder / "kgw.toml").write_text(config + settings)
        ready, report = folder / "ready", folder / "report"
        command = ["serve", "--config", str(folder / "kgw.toml"), "--ready-file", str(ready)]
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.holds", "--serve", str(report), *command],
            cwd=FOLDER,
            stdout=subprocess.DEVNULL,
        )
        try:
            while not ready.exists():
                if process.poll() is not None:
                    raise RuntimeError("the gateway does not start")
                time.sleep(0.01)
            host, _, port = ready.read_text().strip().rpartition(":")
            address = host, int(port)
            with HealthyPair(address, process.pid) as pair:
                yield Gateway(process, report, pair, show), address
        finally:
            process.terminate()
            process.wait()


class Steps:
    """What is asked for, of ``count`` partitions of one topic, ``entries`` of them in one request."""

    def __init__(self, client: raw.Client, count: int, entries: int) -> None:
        self._client = client
        self._count = count
        self._entries = entries
        self._batch = raw.sized_batch(168)
        self._session = 0

    def _pieces(self, size: int) -> Iterator[range]:
        for first in range(0, self._count, size):
            yield range(first, min(first + size, self._count))

    def make(self) -> None:
        self._client.create_topic("many", self._count)

    def produce(self) -> None:
        for piece in self._pieces(self._entries):
            request: Any = wire.message("ProduceRequest")(acks=-1, timeout_ms=120_000)
            data = raw.part(request, "PartitionProduceData")
            partitions = [data(at, self._batch) for at in piece]
            request.topic_data = [raw.part(request, "TopicProduceData")("many", partition_data=partitions)]
            _checked(self._client.ask(request, 11).responses[0].partition_responses)

    def _fetch(self, piece: range, offset: int, *, session: int, epoch: int) -> Any:
        request: Any = wire.message("FetchRequest")(max_wait_ms=500, min_bytes=1, max_bytes=50 << 20)
        request.session_id, request.session_epoch = session, epoch
        part = raw.part(request, "FetchPartition")
        wanted = [part(at, fetch_offset=offset, partition_max_bytes=1 << 20) for at in piece]
        if wanted:
            request.topics = [raw.part(request, "FetchTopic")("many", partitions=wanted)]
        response = self._client.ask(request, 12)
        if response.error_code:
            raise RuntimeError(f"a Fetch got {response.error_code}")
        return response

    def fetch_all(self) -> None:
        for piece in self._pieces(self._entries):
            for topic in self._fetch(piece, 0, session=0, epoch=-1).responses:
                _checked(topic.partitions)

    def session(self) -> None:
        """A session of as many as one request may name, at their ends."""
        self._session = self._fetch(next(self._pieces(self._entries)), 1, session=0, epoch=0).session_id

    def poll(self) -> None:
        for epoch in range(1, 11):
            self._fetch(range(0), 0, session=self._session, epoch=epoch)

    def offsets(self) -> None:
        for piece in self._pieces(self._entries):
            request: Any = wire.message("ListOffsetsRequest")(replica_id=-1)
            part = raw.part(request, "ListOffsetsPartition")
            asked = [part(at, timestamp=-1) for at in piece]
            request.topics = [raw.part(request, "ListOffsetsTopic")("many", asked)]
            _checked(self._client.ask(request, 5).topics[0].partitions)

    def commit(self) -> None:
        for piece in self._pieces(self._entries):
            request: Any = wire.message("OffsetCommitRequest")("holds", generation_id_or_member_epoch=-1)
            part = raw.part(request, "OffsetCommitRequestPartition")
            asked = [part(at, committed_offset=1, committed_metadata="") for at in piece]
            request.topics = [raw.part(request, "OffsetCommitRequestTopic")("many", partitions=asked)]
            _checked(self._client.ask(request, 7).topics[0].partitions)

    def committed(self) -> None:
        request: Any = wire.message("OffsetFetchRequest")("holds", topics=None)
        _checked(self._client.ask(request, 7).topics[0].partitions)

    def committed_of(self) -> None:
        for piece in self._pieces(self._entries):
            request: Any = wire.message("OffsetFetchRequest")("holds")
            request.topics = [raw.part(request, "OffsetFetchRequestTopic")("many", list(piece))]
            _checked(self._client.ask(request, 7).topics[0].partitions)

    def metadata(self) -> None:
        _checked(self._client.metadata("many").topics[0].partitions)

    def delete(self) -> None:
        self._client.delete_topics("many")


def _checked(answers: list[Any]) -> None:
    codes = {answer.error_code for answer in answers}
    if codes != {0}:
        raise RuntimeError(f"answers have errors {codes}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.holds", description=__doc__)
    parser.add_argument("--partitions", type=int, default=100_000)
    parser.add_argument("--entries", type=int, default=100_000, help="most that one request names")
    parser.add_argument("--storage", choices=STORAGE, default="memory")
    parser.add_argument("--settings", default="", help="more lines of [storage], or tables")
    parser.add_argument("--show", action="store_true", help="say where the loop was while it was held")
    parser.add_argument("--most", type=float, default=100.0, help="ms that nobody may wait longer")
    options = parser.parse_args()
    with (
        running(options.storage, options.partitions, options.settings, options.show) as (gateway, address),
        raw.Client(address, timeout=300) as client,
    ):
        steps = Steps(client, options.partitions, options.entries)
        todo: dict[str, Callable[[], None]] = {
            "CreateTopics": steps.make,
            "Metadata": steps.metadata,
            "Produce, a batch to each": steps.produce,
            "Fetch, a batch of each": steps.fetch_all,
            "Fetch, a session begins": steps.session,
            "Fetch, 10 idle polls of the session": steps.poll,
            "ListOffsets": steps.offsets,
            "OffsetCommit": steps.commit,
            "OffsetFetch, all": steps.committed,
            "OffsetFetch, by name": steps.committed_of,
            "DeleteTopics": steps.delete,
        }
        gateway.forget()
        for name, step in todo.items():
            began = time.perf_counter()
            step()
            time.sleep(0.1)
            gateway.tell(name, time.perf_counter() - began - 0.1)
        worst = gateway.worst
    print(f"the longest hold or wait: {worst:.0f} ms")
    return int(worst > options.most)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
