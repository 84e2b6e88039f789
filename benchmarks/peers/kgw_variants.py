"""Other forms of this project: an earlier version, and this one without compiled code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.base import BUILD, CannotBuild, call
from benchmarks.peers.kgw import Kgw, chosen

PURE = (
    "import sys; sys.modules['kgw_core.records._walk'] = None; "
    "from kgw_core.__main__ import main; main()"
)  # fmt: skip


class KgwBefore(Kgw):
    """The checkout that ``KGW_BENCH_BEFORE`` names, copied into an environment of its own."""

    name = "kgw-before"
    default = False
    by_name_only = True

    @property
    def version(self) -> str:
        return (self.place / "version").read_text().strip()

    def make(self) -> str:
        named = os.environ.get("KGW_BENCH_BEFORE")
        if not named:
            raise CannotBuild("KGW_BENCH_BEFORE does not name a checkout")
        folder = Path(named)
        call([chosen(), "-m", "venv", "--without-pip", str(self.place / "venv")], self.place)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        parts = [str(folder), str(folder / "plugins/storage_memory"), str(folder / "packaging/kgw")]
        parts.append(str(folder / "plugins/storage_sqlite"))
        constraints = ["-c", str(folder / "constraints.txt")]
        call([*pip, "--python", str(self.python), "install", *constraints, *parts], folder)
        return call(["git", "-C", str(folder), "log", "-1", "--format=%h"], folder).strip()


class KgwPure(Kgw):
    """As it is where no C compiler was."""

    name = "kgw-pure"
    default = False
    by_name_only = True

    @property
    def place(self) -> Path:
        return BUILD / Kgw.name

    def command(self, port: int, folder: Path) -> Sequence[str]:
        return [str(self.python), "-c", PURE, "dev", "--port", str(port)]
