"""What the check of records costs: CPU of the server for a MB that is produced, each form beside the others.

``python -m benchmarks.check_cost --beside PATH``: PATH is a checkout of another version, whose plugins it
takes too. Every gateway is a process of its own on the memory store; a client sends prepared frames and reads
the answers. The forms take turns, in another order each round. Told is the least of all rounds: what else a
machine has to do only adds to it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.request_cost import TOPIC, measure, produce_frame
from kgw_core.records import Codec, build_batch

FOLDER = Path(__file__).parents[1]
START = "from kgw_core.__main__ import main; main()"
PURE = f"import sys; sys.modules['kgw_core.records._walk'] = None; {START}"


@dataclass(frozen=True)
class Form:
    """A gateway to measure: where its code is, how it starts, its settings."""

    folder: Path = FOLDER
    start: str = START
    environment: Mapping[str, str] = field(default_factory=dict)


def forms(beside: Path | None) -> dict[str, Form]:
    """By name; the first is what the others are compared with."""
    found = {"before": Form(beside)} if beside else {}
    return found | {
        "header": Form(environment={"KGW_TOPICS__CHECK_RECORDS": "header"}),
        "all": Form(),
        "all, pure Python": Form(start=PURE),
        "frame, pure Python": Form(start=PURE, environment={"KGW_TOPICS__CHECK_RECORDS": "frame"}),
    }


def batches() -> dict[str, tuple[bytes, int]]:
    """By name a batch, and the bytes of its records' values."""
    rng = random.Random(5)
    now = int(time.time() * 1000)

    def text(size: int) -> bytes:
        words = (
            b'{"id": %d, "name": "user-%d", "amount": %d}' % (rng.randrange(10**9), n, rng.randrange(10**6))
            for n in itertools.count(rng.randrange(10**6))
        )
        parts, length = [], 0
        while length < size:
            parts.append(next(words))
            length += len(parts[-1])
        return b"".join(parts)[:size]

    def made(count: int, size: Callable[[], int], codec: Codec = Codec.NONE) -> tuple[bytes, int]:
        values = [(text(size()) if codec else rng.randbytes(size()), now + at // 20) for at in range(count)]
        records = [(None, value, when) for value, when in values]
        return bytes(build_batch(records, codec=codec)), sum(len(value) for value, _ in values)

    shapes = {
        "1 KB x 900": made(900, lambda: 1000),
        "100 B x 8000": made(8000, lambda: 100),
        "20 to 180 B x 8000": made(8000, lambda: rng.randint(20, 180)),
        "100 B x 1": made(1, lambda: 100),
    }
    for codec in Codec:
        if codec:
            shapes[f"1 KB x 900, {codec.label}"] = made(900, lambda: 1000, codec)
    return shapes


@contextmanager
def running(form: Form) -> Iterator[tuple[int, tuple[str, int]]]:
    """A gateway: its process id and address."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        paths = [str(form.folder), *(str(each) for each in form.folder.glob("plugins/*/src"))]
        command = [sys.executable, "-c", form.start, "dev", "--port", "0", "--topic", TOPIC]
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready)],
            cwd=form.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **form.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not ready.exists():
                if process.poll() is not None:
                    raise RuntimeError(f"the gateway of {form.folder} ended with {process.returncode}")
                time.sleep(0.01)
            host, _, port = ready.read_text().strip().rpartition(":")
            yield process.pid, (host, int(port))
        finally:
            process.terminate()
            process.wait()


def cost(form: Form, batch: bytes, megabytes: float) -> float:
    """Seconds of the server's CPU for one request with ``batch``, after some that do not count."""
    frame = produce_frame(batch)
    count = max(20, round(megabytes * 1e6 / len(frame)))
    with running(form) as (pid, address), socket.create_connection(address) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        measure(pid, sock, frame, max(5, count // 10), 2)
        return measure(pid, sock, frame, min(count, 20_000), 2)[0] / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check_cost", description=__doc__)
    parser.add_argument("--beside", type=Path, help="a checkout of another version")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=150, help="sent in each measurement")
    parser.add_argument("--only", default="", help="only shapes whose name contains this")
    options = parser.parse_args()
    variants = forms(options.beside)
    shapes = {name: shape for name, shape in batches().items() if options.only in name}
    found: dict[tuple[str, str], list[float]] = {}
    for turn in range(options.rounds):
        for shape, (batch, _) in shapes.items():
            order = list(variants)
            random.Random(turn).shuffle(order)
            for name in order:
                found.setdefault((shape, name), []).append(cost(variants[name], batch, options.megabytes))
    print(f"| records | {' | '.join(variants)} |")
    print("|---" * (len(variants) + 1) + "|")
    first = next(iter(variants))
    for shape, (_, size) in shapes.items():
        least = {name: min(found[shape, name]) for name in variants}
        cells = [f"{least[name] * 1e9 / size:.2f} ({least[name] / least[first]:.2f})" for name in variants]
        print(f"| {shape} | {' | '.join(cells)} |")
    print("\nms of CPU a MB of values, and how many times the first column's")
    return 0


if __name__ == "__main__":
    sys.exit(main())
