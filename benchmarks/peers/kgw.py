"""This project: ``kgw dev``, on the system's own CPython where that is new enough, else on the one that runs.

Distributions compile theirs with profile-guided optimisation. One compiled without, as pyenv does unless
told, takes up to 1.5 times the CPU for what happens in Python, and would be compared with runtimes that are
optimised. ``KGW_BENCH_PYTHON`` names another one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.base import Peer, call

FOLDER = Path(__file__).parents[2]
SYSTEM = "/usr/bin/python3"
NEW_ENOUGH = "import sys, venv; sys.exit(sys.version_info < (3, 11))"


class Kgw(Peer):
    name = "kgw"

    @property
    def version(self) -> str:
        built = (self.place / "version").read_text().strip()
        return f"{version('kgw-core')}, CPython {built}"

    @property
    def python(self) -> Path:
        """The interpreter of the environment that it runs in."""
        return self.place / "venv" / "bin" / "python"

    def make(self) -> str:
        python = os.environ.get("KGW_BENCH_PYTHON") or chosen()
        call([python, "-m", "venv", "--without-pip", str(self.place / "venv")], self.place)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        install = [*pip, "--python", str(self.python), "install", "-c", "constraints.txt"]
        call([*install, "hatchling", "editables", "setuptools"], FOLDER)
        plugins = sorted(str(part.parent) for part in FOLDER.glob("plugins/*/pyproject.toml"))
        parts = [word for part in (".", *plugins, "packaging/kgw") for word in ("-e", part)]
        call([*install, "--no-build-isolation", *parts], FOLDER)
        return call([str(self.python), "-c", "import platform; print(platform.python_version())"], FOLDER)

    def command(self, port: int, folder: Path) -> Sequence[str]:
        return [str(self.python.with_name("kgw")), "dev", "--port", str(port)]


def chosen() -> str:
    """The interpreter that is measured."""
    try:
        done = subprocess.run([SYSTEM, "-c", NEW_ENOUGH], capture_output=True)
    except OSError:
        return sys.executable
    return sys.executable if done.returncode else SYSTEM
