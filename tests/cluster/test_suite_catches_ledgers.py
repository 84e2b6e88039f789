"""The suite finds what is wrong: each broken ledger fails the test made for it, and no test is idle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import broken_ledgers
import pytest

from kgw_core.testing import OffsetLedgerSuite

BROKEN = Path(broken_ledgers.__file__)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """One pytest run of what each is caught by; the outcomes by class and test."""
    report = tmp_path_factory.mktemp("broken") / "report.xml"
    tests = [f"{BROKEN}::Test{name}::{test}" for name, test in broken_ledgers.CAUGHT.items()]
    options = ["-q", "-p", "no:cacheprovider", "--tb=no", f"--junit-xml={report}"]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=BROKEN.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1, finished.stdout + finished.stderr
    found: dict[tuple[str, str], str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")] or ["passed"]
        found[case.get("classname", "").rpartition(".Test")[2], case.get("name", "")] = kinds[0]
    return found


@pytest.mark.parametrize(("name", "test"), list(broken_ledgers.CAUGHT.items()))
def test_a_broken_ledger_fails(outcomes: dict[tuple[str, str], str], name: str, test: str) -> None:
    """By an assertion of the test, and not in a fixture."""
    assert outcomes.get((name, test)) == "failure", f"{name} gets away with it"


def test_every_test_of_the_suite_has_a_ledger_that_fails_it() -> None:
    """A test that nothing can fail checks nothing."""
    tests = {name for name in dir(OffsetLedgerSuite) if name.startswith("test_")}
    assert set(broken_ledgers.CAUGHT.values()) == tests
