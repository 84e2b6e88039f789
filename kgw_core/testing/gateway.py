"""Gateways for tests: in a process of their own, in a thread of the test's process, always on free ports.

:func:`gateway_thread` is quick (tens of milliseconds) and lets the test look inside. :func:`gateway_process`
is the real command, with its output and its exit code. Both listen on 127.0.0.1 only and keep what they
store in memory, unless their config says otherwise.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from kgw_core.config import Config, dev
from kgw_core.gateway import Gateway, running
from kgw_core.spi.storage import LogStore

T = TypeVar("T")

START_SECONDS = 20.0
"""How long a gateway may take until it is ready; many times the usual."""

_COMMAND = "from kgw_core.cli import main; main(prog_name='kgw')"
_TAIL = 4_000


def free_config(*topics: str) -> Config:
    """The settings of ``kgw dev`` on any free port, whatever the environment says.

    :param topics: topics to create at start, such as ``"orders:3"``. Change more with
        :func:`msgspec.structs.replace`.
    """
    return dev(port=0, topics=topics, env={})


class RunningGateway:
    """What a test sees of a gateway, wherever it runs."""

    @property
    def bootstrap(self) -> str:
        """``host:port`` of every listener, separated by commas: what clients call bootstrap servers."""
        raise NotImplementedError

    @property
    def log(self) -> str:
        """All that it has logged so far."""
        raise NotImplementedError

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each address listened on; of a Unix socket ``unix:`` with its path, and 0."""
        return [_address(place) for place in self.bootstrap.split(",")]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first listener."""
        return self.addresses[0]

    def wait_for_log(self, pattern: str, *, seconds: float = 10.0) -> re.Match[str]:
        """Wait for the first match of the regular expression in the log, and return it.

        :raises AssertionError: there is none in time.
        """
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self.log, re.MULTILINE)) is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing like {pattern!r} in the log:\n{self.log[-_TAIL:]}")
            time.sleep(0.005)
        return found


def _address(place: str) -> tuple[str, int]:
    if place.startswith("unix:"):
        return place, 0
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)


# -- in this process


class GatewayThread(RunningGateway):
    """A gateway on an event loop in a thread of its own. ``gateway`` is the running
    :class:`kgw_core.gateway.Gateway`; touch it through :meth:`call` only."""

    def __init__(self, gateway: Gateway, portal: BlockingPortal, log: _Log) -> None:
        self.gateway = gateway
        self._portal = portal
        self._log = log

    @property
    def bootstrap(self) -> str:
        return self.gateway.bootstrap

    @property
    def log(self) -> str:
        """All that gateways of this process have logged since this one started."""
        return self._log.text

    def call(self, function: Callable[..., T], *args: object) -> T:
        """``function(*args)`` on the gateway's loop."""
        return self._portal.call(lambda: function(*args))


class _Log(logging.Handler):
    """Keeps what the gateway logs, from level INFO up, while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += self.format(record) + "\n"

    @contextmanager
    def attached(self) -> Iterator[None]:
        loggers = [logging.getLogger("kgw"), logging.getLogger("kgw_core")]
        before = [logger.level for logger in loggers]
        for logger in loggers:
            logger.addHandler(self)
            logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.removeHandler(self)
                logger.setLevel(level)


@contextmanager
def gateway_thread(
    config: Config | None = None, *, store: LogStore | None = None, uvloop: bool = False
) -> Iterator[GatewayThread]:
    """Run a gateway in a thread; leaving drains and stops it.

    :param config: left out, :func:`free_config`.
    :param store: takes the place of the one that the config selects.
    :param uvloop: run on uvloop, as the command does, instead of on asyncio's own loop.

    ::

        with gateway_thread() as gateway:
            consumer = Consumer({"bootstrap.servers": gateway.bootstrap, …})
    """
    log = _Log()
    with (
        log.attached(),
        start_blocking_portal(backend_options={"use_uvloop": uvloop}) as portal,
        portal.wrap_async_context_manager(running(config or free_config(), store=store)) as gateway,
    ):
        yield GatewayThread(gateway, portal, log)


# -- in a process of its own


class GatewayProcess(RunningGateway):
    """The command ``kgw``, running. ``log_path`` is the file with its output, logs included."""

    def __init__(self, process: subprocess.Popen[bytes], log_path: Path, ready_file: Path) -> None:
        self.process = process
        self.log_path = log_path
        self.ready_file = ready_file
        self._bootstrap = ""
        self._killed = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def bootstrap(self) -> str:
        return self._bootstrap

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def terminate(self) -> None:
        """Send SIGTERM: the gateway answers the requests it has, then stops."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it as a crash would, and wait until it has ended; :meth:`stop` does nothing then."""
        self._killed = True
        self.process.kill()
        self.process.wait()

    def wait(self, seconds: float) -> int:
        """The exit code, once there is one.

        :raises AssertionError: it does not end in time; it is killed then.
        """
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(
                f"the gateway did not end within {seconds:g} s:\n{self.log[-_TAIL:]}"
            ) from None

    def stop(self, *, seconds: float = 15.0, check_log: bool = True) -> None:
        """Terminate, unless it has ended, and look at how it ended.

        :raises AssertionError: it does not end in time, or not with 0, or (``check_log``) there is a
            traceback in its log.
        """
        if self._killed:
            return
        if self.process.poll() is None:
            self.terminate()
        code = self.wait(seconds)
        log = self.log
        assert code == 0, f"the gateway ended with {code}:\n{log[-_TAIL:]}"
        assert not check_log or "Traceback" not in log, f"a traceback in the gateway's log:\n{log[-_TAIL:]}"


@contextmanager
def gateway_process(
    directory: Path,
    *options: str,
    config: str | None = None,
    env: Mapping[str, str] | None = None,
    drain_seconds: float = 15.0,
    check_log: bool = True,
) -> Iterator[GatewayProcess]:
    """Run ``kgw dev --port 0``, or ``kgw serve`` if there is a config; yield it when it is ready.

    Leaving sends SIGTERM and sees to it that the gateway exits with 0 within ``drain_seconds`` and
    (``check_log``) that no traceback is in its log. After an error in the body it is only ended, and the
    end of its log goes with the error.

    :param directory: where its log, ready file and config go; one gateway a directory.
    :param options: more options of the command, such as ``"--topic", "orders:3"``.
    :param config: the text of a TOML file. It says itself on which port to listen; take 0.
    :param env: variables to set; ``KGW_…`` of the test's own environment are not handed on.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if config is None:
        command = ["dev", "--port", "0"]
    else:
        config_path = directory / "kgw.toml"
        config_path.write_text(config, encoding="utf-8")
        command = ["serve", "--config", str(config_path)]
    ready_file = directory / "ready"
    ready_file.unlink(missing_ok=True)  # a gateway that was killed leaves its own behind
    log_path = directory / "kgw.log"
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("KGW_")}
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, *command, "--ready-file", str(ready_file), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**inherited, "PYTHONUNBUFFERED": "1", **(env or {})},
        )
    gateway = GatewayProcess(process, log_path, ready_file)
    try:
        _until_ready(gateway)
        yield gateway
    except BaseException as error:
        if process.poll() is None:
            process.kill()
        process.wait()
        error.add_note(f"the end of {log_path}:\n{gateway.log[-_TAIL:]}")
        raise
    gateway.stop(seconds=drain_seconds, check_log=check_log)


def _until_ready(gateway: GatewayProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not gateway.ready_file.exists():
        code = gateway.process.poll()
        assert code is None, f"the gateway ended with {code} before it was ready"
        assert time.monotonic() < deadline, f"the gateway was not ready within {START_SECONDS:g} s"
        time.sleep(0.005)
    gateway._bootstrap = ",".join(gateway.ready_file.read_text(encoding="utf-8").split())
