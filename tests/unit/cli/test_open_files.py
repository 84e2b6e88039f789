"""Connections are open files: as many are asked for as are needed, and there are no more than are given."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kgw_core.cli.open_files import SPARE

resource = pytest.importorskip("resource")

ASKING = """
import logging, resource, msgspec
resource.setrlimit(resource.RLIMIT_NOFILE, ({now}, {most}))
logging.basicConfig(format="%(message)s")
from kgw_core.cli.open_files import with_room
from kgw_core.config import Config, Limits
config = with_room(Config(limits=Limits(max_connections={connections})))
print(config.limits.max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("now", "most", "connections", "told"),
    [
        (100, 2_000, 500, (500, 500 + SPARE)),
        (100, 600, 500, (400, 600)),
        (2_000, 2_000, 500, (500, 2_000)),
        (100, 300, 500, (150, 300)),
    ],
    ids=["more are asked for", "there are not as many", "there are enough", "there are very few"],
)
def test_there_are_as_many_connections_as_there_may_be(
    now: int, most: int, connections: int, told: tuple[int, int]
) -> None:
    code = ASKING.format(now=now, most=most, connections=connections)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert tuple(map(int, done.stdout.split())) == told
    warned = f"of 500 connections (limits.max_connections) there can be {told[0]}: "
    assert (warned in done.stderr) is (told[0] < connections), done.stderr


def test_the_command_goes_by_it() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))\n"
        "from kgw_core.cli import main; main(prog_name='kgw')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "dev", "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as kgw:
        assert kgw.stderr is not None
        line = kgw.stderr.readline()
        kgw.terminate()
    assert "of 10000 connections (limits.max_connections) there can be 150" in line
    assert "`ulimit -n 10200`" in line
