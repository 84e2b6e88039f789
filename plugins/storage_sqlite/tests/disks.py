"""Small file systems, for tests that fill them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def run(*command: str) -> None:
    """Do ``command``, or skip the test and say why."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")


@contextmanager
def tmpfs(place: Path, mib: int) -> Iterator[Path]:
    """A file system of ``mib`` MiB at ``place``."""
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={mib}m", "kgw-test", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


class Ballast:
    """Another program's file on the same disk."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"
        self._path.touch()

    def fill(self, leave: int = 0) -> None:
        """Take all that is free but ``leave`` bytes."""
        with self._path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            free = left(self._path.parent) - leave
            if free > 0:
                os.posix_fallocate(file.fileno(), size, free)

    def remove(self) -> None:
        self._path.unlink()


def left(disk: Path) -> int:
    """Bytes that are free."""
    about = os.statvfs(disk)
    return about.f_bavail * about.f_frsize
