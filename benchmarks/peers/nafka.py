"""nafka: a Python broker for tests, on SQLite in memory (PyPI). One partition a topic."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.base import CannotBuild, Peer, call

FOLDER = Path(__file__).parents[2]

PROGRAM = """\
import asyncio, sys
from nafka.server import run_server
asyncio.run(run_server(":memory:", int(sys.argv[1])))
"""
"""Its own command logs every request at level DEBUG; this is the same without that."""


class Nafka(Peer):
    name = "nafka"
    storage = "SQLite in memory"
    partitions = False
    scale = 0.05
    default = False

    def make(self) -> str:
        python = call(["sh", str(FOLDER / "tools" / "newest_python.sh"), sys.executable], FOLDER).strip()
        if not python or shutil.which(python) is None:
            raise CannotBuild("needs Python 3.12 or newer")
        call([python, "-m", "venv", str(self.place / "venv")], self.place)
        pip = [str(self.place / "venv" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        call([*pip, "install", "--quiet", "nafka"], self.place)
        shown = call([*pip, "show", "nafka"], self.place)
        (self.place / "program.py").write_text(PROGRAM)
        return next(line.split()[1] for line in shown.splitlines() if line.startswith("Version:"))

    def command(self, port: int, folder: Path) -> Sequence[str]:
        return [str(self.place / "venv" / "bin" / "python"), str(self.place / "program.py"), str(port)]
