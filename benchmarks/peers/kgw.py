"""This project: ``kgw dev`` of the environment that the benchmarks run in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.base import Peer


class Kgw(Peer):
    name = "kgw"

    @property
    def built(self) -> bool:
        return True

    @property
    def version(self) -> str:
        python = ".".join(str(number) for number in sys.version_info[:3])
        return f"{version('kgw-core')}, CPython {python}"

    def command(self, port: int, folder: Path) -> Sequence[str]:
        return [str(Path(sys.executable).with_name("kgw")), "dev", "--port", str(port)]
