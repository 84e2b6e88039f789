"""One load against one server: what it took of both, and how busy the machine was with anything else."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import procfs
from benchmarks.peers.base import Server

LIMIT_SECONDS = 180.0


class LoadFailed(Exception):
    """A load did not come to its end; the message holds what it said."""


def run_load(name: str, spec: Mapping[str, Any], server: Server) -> dict[str, float]:
    """What the load says, and ``server_cpu`` (s), ``other_cores`` (cores kept busy by neither of them).

    :raises LoadFailed:
    """
    spec = {**spec, "bootstrap": server.bootstrap}
    load = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.loads", name, json.dumps(spec)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    errors: list[str] = []
    assert load.stdin and load.stdout and load.stderr
    reader = threading.Thread(target=lambda: errors.append(load.stderr.read()))  # type: ignore[union-attr]
    reader.start()
    timer = threading.Timer(LIMIT_SECONDS, load.kill)
    timer.start()
    try:
        samples = []
        for word in ("begin", "end"):
            line = load.stdout.readline().strip()
            if line != word:
                load.kill()
                reader.join()
                raise LoadFailed(f"{name} against {server.peer.name}: {_last(errors)}")
            samples.append((procfs.cpu_seconds(server.pid), procfs.machine_busy_seconds()))
            load.stdin.write("\n")
            load.stdin.flush()
        line = load.stdout.readline()
        load.wait()
        reader.join()
        if load.returncode or not line:
            raise LoadFailed(f"{name} against {server.peer.name}: {_last(errors)}")
    finally:
        timer.cancel()
        load.kill()
        load.wait()
    result: dict[str, float] = json.loads(line)
    server_cpu, busy = (after - before for before, after in zip(*samples, strict=True))
    other = max(0.0, busy - server_cpu - result["client_cpu"])
    return result | {"server_cpu": server_cpu, "other_cores": other / result["seconds"]}


def _last(errors: list[str]) -> str:
    lines = "".join(errors).strip().splitlines()
    return lines[-1] if lines else "it ended without a word"
