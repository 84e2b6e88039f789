"""A machine that loses its power: everything that its store had not yet written to the disk is lost."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kgw_core.testing.gateway import GatewayProcess, gateway_process


class PowerCut:
    """A gateway that is started again over the same data, on the port that it had first.

    :param directory: where log, ready file and config of the gateways go.
    :param data: the directory of the store's files, and nothing else.
    :param config: the text of a TOML file, without listeners.

    ::

        with machine.serving() as gateway:
            …
            machine.sync(gateway)
            …  # later writes are lost
            machine.cut(gateway)
        with machine.serving() as gateway:
            …
    """

    def __init__(self, directory: Path, data: Path, config: str) -> None:
        self._directory = directory
        self._data = data
        self._config = config
        self._saved = directory / "saved"
        self._port = 0

    @contextmanager
    def serving(self, *, elsewhere: bool = False) -> Iterator[GatewayProcess]:
        """A gateway; ``elsewhere``: on another port, so that clients of the first do not find it."""
        port = 0 if elsewhere else self._port
        config = f"[[listeners]]\nport = {port}\n\n{self._config}"
        with gateway_process(self._directory, config=config) as gateway:
            if not elsewhere:
                self._port = gateway.address[1]
            yield gateway

    def sync(self, gateway: GatewayProcess) -> None:
        """The disk has all that there is now, and nothing that comes later."""
        os.kill(gateway.pid, signal.SIGSTOP)
        shutil.rmtree(self._saved, ignore_errors=True)
        shutil.copytree(self._data, self._saved)
        os.kill(gateway.pid, signal.SIGCONT)

    def cut(self, gateway: GatewayProcess) -> None:
        """Power goes: the gateway ends at once, and the next one finds what :meth:`sync` saw."""
        gateway.kill()
        shutil.rmtree(self._data)
        shutil.copytree(self._saved, self._data)
