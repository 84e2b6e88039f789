"""Fixtures of the client programs: each built once, all run against one gateway in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kgw_core.testing.gateway import GatewayProcess, gateway_process

HERE = Path(__file__).parent
# pytest's importlib mode leaves it alone
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import scenarios  # noqa: E402
import tally  # noqa: E402
import toolchains  # noqa: E402
from toolchains import CLIENTS, CODECS, BuildError, Client, Program  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.clients)
            tally.note(item)
            item.add_marker(pytest.mark.timeout(900))  # the first test of a program waits for its build


@pytest.fixture(scope="session")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """``kgw dev`` on a free port, for all tests here: each uses topics of its own."""
    topics = [
        f"--topic={toolchains.topic_of(client, version)}:{len(CODECS)}"
        for client in CLIENTS
        for version in client.versions
    ]
    # No look for old records: the tests write some, and take longer than the five minutes until the first.
    env = {"KGW_TOPICS__RETENTION_CHECK_INTERVAL": "1d"}
    with gateway_process(tmp_path_factory.mktemp("gateway"), *topics, env=env) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared_gateway: GatewayProcess) -> Iterator[GatewayProcess]:
    """The gateway; it must outlive the test, and may not log a crash during it."""
    before = len(shared_gateway.log)
    yield shared_gateway
    said = shared_gateway.log[before:]
    assert shared_gateway.process.poll() is None, said
    assert "Traceback" not in said, said


@pytest.fixture(scope="session")
def built() -> Callable[[Client, str], Program]:
    """Gives the program of a client, or skips the test and says which tool is missing."""
    failed: set[tuple[str, str]] = set()

    def get(client: Client, version: str) -> Program:
        missing = client.missing()
        if missing:
            pytest.skip(f"{client.name} needs {' and '.join(missing)}, not found on the path")
        key = client.name, version
        if key in failed:
            pytest.fail(f"{client.name} {version} could not be built, see the first test that needs it")
        try:
            return toolchains.ready(client, version)
        except BuildError:
            failed.add(key)
            raise

    return get


@pytest.fixture
def program(request: pytest.FixtureRequest, built: Callable[[Client, str], Program], version: str) -> Program:
    """The program of the module's ``CLIENT``, at one of the wanted versions."""
    return built(request.module.CLIENT, version)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    client = getattr(metafunc.module, "CLIENT", None)
    if client is None or "version" not in metafunc.fixturenames:
        return
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize(("version", "scenario"), [*scenarios.cases(metafunc.module)])
    else:
        versions = [
            pytest.param(one, marks=scenarios.marks(client.everywhere(one))) for one in client.versions
        ]
        metafunc.parametrize("version", versions)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A test between two clients counts for both."""
    stats = terminalreporter.stats
    reports = [
        (kind, one) for kind in ("passed", "failed", "skipped", "error") for one in stats.get(kind, ())
    ]
    told = [(kind, one) for kind, one in reports if isinstance(one, pytest.TestReport)]
    lines = [*tally.lines(told)]
    if lines:
        terminalreporter.section("tests by client and version")
        for line in lines:
            terminalreporter.write_line(line)
