"""The suite finds what is wrong: each broken store fails the test made for it, and no test is idle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import broken_stores
import pytest

from kgw_core.testing import LogStoreSuite

BROKEN = Path(broken_stores.__file__)
TESTS = {name for name in dir(LogStoreSuite) if name.startswith("test_")}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[str]]:
    """One pytest run of every broken store's tests; the outcomes by class and test."""
    report = tmp_path_factory.mktemp("broken") / "report.xml"
    finished = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--tb=no",
            f"--junit-xml={report}",
            str(BROKEN),
        ],
        cwd=BROKEN.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1, finished.stdout + finished.stderr
    found: dict[tuple[str, str], list[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")] or ["passed"]
        key = case.get("classname", "").rpartition(".Test")[2], case.get("name", "").partition("[")[0]
        found.setdefault(key, []).extend(kinds)
    return found


@pytest.mark.parametrize(
    ("name", "test"), [(name, test) for name, tests in broken_stores.CAUGHT.items() for test in tests]
)
def test_a_broken_store_fails(outcomes: dict[tuple[str, str], list[str]], name: str, test: str) -> None:
    """The named test fails, by an assertion of its own and not in a fixture."""
    assert test in TESTS
    kinds = outcomes.get((name, test), ["not run"])
    assert "failure" in kinds and "error" not in kinds, f"{name} gets away with it: {kinds}"


def test_every_test_of_the_suite_has_a_store_that_fails_it() -> None:
    """A test that nothing can fail checks nothing."""
    caught = {test for tests in broken_stores.CAUGHT.values() for test in tests}
    assert caught == TESTS
