"""Tables and JSON."""

from __future__ import annotations

import json

import pytest

from kgw_core.cli.tables import print_json, print_table, wants_json


def test_columns_are_as_wide_as_they_have_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "COUNT", "NOTE"), [("a", 5, ""), ("longer", None, "x"), ("b", 12345678, None)])
    assert capsys.readouterr().out == (
        "NAME       COUNT  NOTE\na              5  -\nlonger         -  x\nb       12345678  -\n"
    )


def test_a_table_without_rows_has_its_heads(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "B"), [])
    assert capsys.readouterr().out == "A  B\n"


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([{"group": "grün"}])
    printed = capsys.readouterr().out
    assert json.loads(printed) == [{"group": "grün"}]
    assert "grün" in printed


@pytest.mark.parametrize(
    ("asked", "terminal", "json_"),
    [(None, True, False), (None, False, True), (True, True, True), (False, False, False)],
)
def test_json_goes_where_nobody_looks(
    asked: bool | None, terminal: bool, json_: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    assert wants_json(asked) is json_
