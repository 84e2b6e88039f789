"""What a peer is, and a server that runs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import raw

BUILD = Path(__file__).parents[2] / "build" / "benchmarks"
"""Where peers are built, once. Git ignores it; remove a peer's folder to build it anew."""

START_SECONDS = 60.0


class CannotBuild(Exception):
    """The message says why, for people."""


class Peer:
    """A broker to compare with. A subclass says how it is built and started."""

    name: str
    storage = "memory"
    partitions = True
    """Whether its topics may have several partitions."""
    scale = 1.0
    """What share of the bulk loads it gets: one that is very slow would hold up the others."""
    default = True
    """Whether it is built without being asked for by name."""
    by_name_only = False
    """Whether it runs only when it is asked for by name, even if it is built."""

    @property
    def place(self) -> Path:
        return BUILD / self.name

    @property
    def built(self) -> bool:
        return (self.place / "version").exists()

    @property
    def version(self) -> str:
        return (self.place / "version").read_text().strip()

    def build(self) -> None:
        """Get ready to run, unless that is done. :raises CannotBuild:"""
        if self.built:
            return
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        version = self.make()
        (self.place / "version").write_text(version + "\n")

    def make(self) -> str:
        """Build into ``place``, an empty folder; return the version. :raises CannotBuild:"""
        raise NotImplementedError

    def prepare(self, port: int, folder: Path) -> None:
        """What has to be in ``folder`` before a start; not counted as part of it."""

    def command(self, port: int, folder: Path) -> Sequence[str]:
        """How it is started, to listen on 127.0.0.1 at ``port`` and keep what it has to in ``folder``."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return {}


class Server:
    """A peer that runs, in a folder of its own that goes when it ends."""

    def __init__(self, peer: Peer, environment: Mapping[str, str] | None = None) -> None:
        self.peer = peer
        self._folder = tempfile.TemporaryDirectory(prefix=f"bench-{peer.name}-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        port = free_port()
        peer.prepare(port, folder)
        self.address: raw.Address = ("127.0.0.1", port)
        kept = {name: text for name, text in os.environ.items() if not name.startswith("KGW_")}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        self._log = (folder / "output").open("wb")
        begin = time.perf_counter()
        self._process = subprocess.Popen(
            peer.command(port, folder),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=kept | dict(peer.environment()) | dict(environment or {}),
            start_new_session=True,
        )
        self.pid = self._process.pid
        try:
            self._wait(begin)
        except BaseException:
            self.stop()
            raise

    def _wait(self, begin: float) -> None:
        while True:
            try:
                with raw.Client(self.address) as client:
                    _ = client.versions
                    self.seconds_to_answer = time.perf_counter() - begin
                    """From the start of the process to its first ApiVersions answer."""
                    while not client.metadata("bench-ready").brokers:
                        time.sleep(0.05)
                    return
            except OSError:
                if self._process.poll() is not None or time.perf_counter() - begin > START_SECONDS:
                    raise RuntimeError(f"{self.peer.name} does not start: {self.output()}") from None
                time.sleep(0.002)

    @property
    def bootstrap(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        """The last that it printed."""
        self._log.flush()
        return Path(self._log.name).read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)  # its own session: nobody else is in it
                self._process.wait()
        self._log.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def need(*tools: str) -> None:
    """:raises CannotBuild: one of the tools is not here."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise CannotBuild(f"needs {' and '.join(missing)}")


def call(command: Sequence[str], where: Path, **environment: str) -> str:
    """Run a build step at low priority; return what it printed. :raises CannotBuild:"""
    print(f"  {' '.join(command)}", file=sys.stderr, flush=True)
    polite = ["nice", "-n", "10"] if shutil.which("nice") else []
    done = subprocess.run(
        [*polite, *command], cwd=where, env=os.environ | environment, capture_output=True, text=True
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        lines = [
            line for line in said.splitlines() if "ERROR" in line or "error" in line
        ] or said.splitlines()
        raise CannotBuild(f"{command[0]} failed: {' '.join(lines[:2])[:400]}")
    return done.stdout
