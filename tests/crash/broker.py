"""A gateway on a fixed port, to be killed and started again over the same data."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.crash.erratic import is_injected

COMMAND = "from kgw_core.cli import main; main(prog_name='kgw')"
START_SECONDS = 60.0
"""How long a start may take; many times what it takes."""
STOP_SECONDS = 60.0
ROOT = Path(__file__).parents[2]
TRACEBACK = re.compile(
    r"^Traceback \(most recent.*\n(?:[ |+].*\n|\n)*(.*)\n(?:\n(During handling|The above exception))?",
    re.MULTILINE,
)
"""One, its last line, and whether another error came of it."""
CONFIG = """\
[[listeners]]
port = {port}

[topics]
retention_check_interval = "300ms"
compaction_check_interval = "300ms"

[groups]
initial_rebalance_delay = "100ms"

[storage]
{storage}
"""


class Broker:
    """``storage``: the lines of the ``[storage]`` table. ``starts``: seconds that each start took.

    ``faults``: that the storage fails by chance, so that a start may fail; ``seed`` is of that chance.
    """

    def __init__(self, directory: Path, storage: str, *, faults: bool = False, seed: int = 0) -> None:
        self._directory = directory
        self._ready = directory / "ready"
        self.log_path = directory / "kgw.log"
        self._config = directory / "kgw.toml"
        self.port = free_port()
        self._config.write_text(CONFIG.format(port=self.port, storage=storage))
        self._process: subprocess.Popen[bytes] | None = None
        self._seed = seed
        self.faults = faults
        self.starts: list[float] = []
        self.refused = 0
        """Starts that failed because the storage did."""
        _write_plugin(directory / "plugins")

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def spawn(self) -> None:
        self._ready.unlink(missing_ok=True)
        self._seed += 1
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
                env=self._env(),
            )

    def _env(self) -> Mapping[str, str]:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("KGW_")}
        paths = [str(self._directory / "plugins"), str(ROOT), inherited.get("PYTHONPATH", "")]
        env = {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        if 'use = "erratic"' in self._config.read_text():
            env["KGW_STORAGE__SEED"] = str(self._seed)
            if not self.faults:
                env["KGW_STORAGE__FAULTS"] = "0"
        return env

    def start(self) -> None:
        """Spawn, and wait until it is ready."""
        began = time.monotonic()
        self.spawn()
        while not self._ready.exists():
            assert self._process is not None
            code = self._process.poll()
            if code is not None and self.faults:
                assert code == 1, f"the gateway ended with {code}:\n{self.tail()}"
                self.refused += 1
                self.spawn()
            else:
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
        code = self._process.wait(STOP_SECONDS)
        self._process = None
        assert code == 0, f"the gateway ended with {code}:\n{self.tail()}"

    def tail(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")[-4_000:]

    def tracebacks(self) -> list[str]:
        """The ends of those in the log that do not tell of a fault that was made."""
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        found = TRACEBACK.findall(text)
        return [last for last, links in found if not links and not is_injected(last)]


def _write_plugin(place: Path) -> None:
    """Registers a plugin with the gateway, as an installation would."""
    about = place / "kgw_storage_erratic-0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: kgw-storage-erratic\nVersion: 0\n")
    (about / "entry_points.txt").write_text("[kgw]\nstorage.erratic = tests.crash.erratic\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
