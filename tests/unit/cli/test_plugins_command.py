"""``kgw plugins``."""

from __future__ import annotations

import importlib.metadata

import pytest
from click.testing import CliRunner

from kgw_core import plugins
from kgw_core.cli import main
from kgw_core.records import walk


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more plugin, which does not import."""
    entry_point = importlib.metadata.EntryPoint("storage.gone", "kgw_no_such_module", plugins.GROUP)
    found = [*plugins.found(), plugins.Plugin("storage", "gone", entry_point)]
    monkeypatch.setattr(plugins, "found", lambda: found)


def test_it_shows_what_is_installed() -> None:
    result = CliRunner().invoke(main, ["plugins"])
    assert result.exit_code == 0
    assert "storage memory (kgw-storage-memory 0.1.0)" in result.output.splitlines()


@pytest.mark.parametrize(("compiled", "shown"), [(True, "compiled"), (False, "pure Python")])
def test_it_says_in_which_form_records_are_checked(
    monkeypatch: pytest.MonkeyPatch, compiled: bool, shown: str
) -> None:
    monkeypatch.setattr(walk, "COMPILED", compiled)
    result = CliRunner().invoke(main, ["plugins"])
    assert result.output.splitlines()[-1] == f"check of records (kgw-core): {shown}"


def test_check_tells_of_those_that_fit() -> None:
    result = CliRunner().invoke(main, ["plugins", "--check"])
    assert "storage memory (kgw-storage-memory 0.1.0): fits" in result.output.splitlines()
    assert result.exit_code == 0


@pytest.mark.usefixtures("broken")
def test_check_shows_the_traceback_of_one_that_does_not_import() -> None:
    result = CliRunner().invoke(main, ["plugins", "--check"])
    assert result.exit_code == 1
    assert "storage gone (kgw_no_such_module): plugin kgw_no_such_module failed to import" in result.output
    assert "Traceback (most recent call last)" in result.output
    assert "ModuleNotFoundError: No module named 'kgw_no_such_module'" in result.output
