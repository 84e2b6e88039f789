"""What every client's tests do with its table of scenarios."""

from __future__ import annotations

from collections.abc import Mapping

from toolchains import Program

INTEROP = {"read", "write"}
"""Scenarios that every program may have for ``test_between_clients.py``."""


def check(program: Program, bootstrap: str, scenario: str, sentence: str) -> None:
    """Run one scenario: the program compares, here we see that it did, and that all was right."""
    outcome = program.run(bootstrap, scenario)
    explained = f"{sentence}: {outcome.explain()}"
    assert outcome.status == 0, explained
    assert outcome.lines, f"nothing was compared: {explained}"
    assert all(line.get("ok") is True for line in outcome.lines), explained


def check_table(program: Program, table: Mapping[str, str]) -> None:
    """The program has the scenarios of the table and no others."""
    outcome = program.run("-", "list")
    assert outcome.status == 0, outcome.explain()
    assert {str(line["scenario"]) for line in outcome.lines} - INTEROP == set(table)
