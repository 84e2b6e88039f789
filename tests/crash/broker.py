"""A gateway on a fixed port, to be killed and started again over the same data."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

COMMAND = "from kgw_core.cli import main; main(prog_name='kgw')"
START_SECONDS = 60.0
"""How long a start may take; many times what it takes."""


class Broker:
    """``storage``: the lines of the ``[storage]`` table. ``starts``: seconds that each start took."""

    def __init__(self, directory: Path, storage: str) -> None:
        self._directory = directory
        self._ready = directory / "ready"
        self.log_path = directory / "kgw.log"
        self._config = directory / "kgw.toml"
        self.port = free_port()
        self._config.write_text(f"[[listeners]]\nport = {self.port}\n\n[storage]\n{storage}\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.starts: list[float] = []

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def spawn(self) -> None:
        self._ready.unlink(missing_ok=True)
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("KGW_")}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    COMMAND,
                    "serve",
                    "--config",
                    self._config,
                    "--ready-file",
                    self._ready,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=inherited,
            )

    def start(self) -> None:
        """Spawn, and wait until it is ready."""
        began = time.monotonic()
        self.spawn()
        assert self._process is not None
        while not self._ready.exists():
            code = self._process.poll()
            assert code is None, f"the gateway ended with {code}:\n{self.tail()}"
            assert time.monotonic() - began < START_SECONDS, f"not ready:\n{self.tail()}"
            time.sleep(0.002)
        self.starts.append(time.monotonic() - began)

    def kill(self) -> None:
        """SIGKILL; return when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def start_amid_kills(self, chance: random.Random) -> int:
        """Start; now and then after starts that were killed half-way. Returns how many those were."""
        killed = 0
        while chance.random() < 0.25:
            self.spawn()
            time.sleep(chance.uniform(0.0, 0.6))
            self.kill()
            killed += 1
        self.start()
        return killed

    def stop(self) -> None:
        """SIGTERM. :raises AssertionError: it does not end well."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(30.0)
        self._process = None
        assert code == 0, f"the gateway ended with {code}:\n{self.tail()}"

    def tail(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")[-4_000:]

    def tracebacks(self) -> int:
        return self.log_path.read_text(encoding="utf-8", errors="replace").count("Traceback (most recent")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
