"""Gateways over sockets, shared where tests can share: topics are named after the test, so none meet."""

from __future__ import annotations

import itertools
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests: importlib mode leaves it alone

with warnings.catch_warnings():
    # kafka-python reads its message definitions by importlib.resources' deprecated functions when imported.
    warnings.filterwarnings("ignore", r"(read|open)_text is deprecated", DeprecationWarning)
    from python_clients import CLIENTS, Client

from kgw_core.testing.gateway import GatewayProcess, gateway_process

_numbers = itertools.count(1)

SERVE = """
[[listeners]]
port = 0

[storage]
use = "memory"
"""


NO_RETENTION = {"KGW_TOPICS__RETENTION_CHECK_INTERVAL": "1d"}
"""Tests write records that are years old; on a slow machine they take longer than the usual five minutes."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def dev_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """`kgw dev` in a process of its own, for all tests that do not end it."""
    with gateway_process(tmp_path_factory.mktemp("dev"), env=NO_RETENTION) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def serve_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """`kgw serve` with next to nothing set but a free port."""
    with gateway_process(tmp_path_factory.mktemp("serve"), config=SERVE, env=NO_RETENTION) as gateway:
        yield gateway


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest, dev_gateway: GatewayProcess) -> Client:
    """Each client library in turn, talking to `dev_gateway`."""
    return request.param(dev_gateway.bootstrap)


LONGEST_SOCKET = 80
"""Bytes that the path of a Unix socket may have anywhere, less a file's name."""


@pytest.fixture
def socket_directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for Unix sockets: their paths have some 100 bytes at most, and pytest's may have more."""
    if len(os.fsencode(tmp_path)) <= LONGEST_SOCKET:
        yield tmp_path
        return
    parent = next((place for place in ("/tmp", "/var/tmp") if os.access(place, os.W_OK | os.X_OK)), None)
    if parent is None:
        pytest.skip("there is no directory with a path that is short enough for Unix sockets")
    with tempfile.TemporaryDirectory(prefix="kgw-", dir=parent) as name:
        yield Path(name)


@pytest.fixture
def new_name(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Names of topics that nobody has used."""
    stem = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:100]
    return lambda: f"{stem}-{next(_numbers)}"


@pytest.fixture
def name(new_name: Callable[[], str]) -> str:
    """The name of a topic that nobody has used."""
    return new_name()
