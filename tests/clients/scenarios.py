"""What every client's tests do with its table of scenarios."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
from _pytest.mark.structures import ParameterSet
from toolchains import Program

OTHERS = {"read", "write", "members", "cut"}
"""What programs have for ``test_between_clients.py``, the tests of groups, and ``test_power_cut.py``."""


def marks(everywhere: bool) -> list[pytest.MarkDecorator]:
    """What runs in ``make matrix`` only is marked so."""
    return [] if everywhere else [pytest.mark.matrix]


def sentences(module: ModuleType, version: str) -> dict[str, str]:
    """What each scenario shows that this version of the module's ``CLIENT`` has.

    ``SCENARIOS`` run wherever the version does, ``MATRIX`` with the mark ``matrix`` only. ``SINCE`` are more
    of them, each with the first version that has it.
    """
    later = {
        name: sentence
        for name, (first, sentence) in getattr(module, "SINCE", {}).items()
        if _number(version) >= _number(first)
    }
    return {**module.SCENARIOS, **getattr(module, "MATRIX", {}), **later}


def cases(module: ModuleType) -> Iterator[ParameterSet]:
    """The versions of the module's client, each with its scenarios."""
    client = module.CLIENT
    for version in client.versions:
        for scenario in sentences(module, version):
            everywhere = client.everywhere(version) and scenario not in getattr(module, "MATRIX", {})
            yield pytest.param(version, scenario, marks=marks(everywhere))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.removeprefix("v").split("."))


def check(module: ModuleType, program: Program, bootstrap: str, scenario: str, timeout: float = 60) -> None:
    """Run one scenario: the program compares, here we see that it did, and that all was right."""
    outcome = program.run(bootstrap, scenario, timeout=timeout)
    explained = f"{sentences(module, program.version)[scenario]}: {outcome.explain()}"
    assert outcome.status == 0, explained
    assert outcome.lines, f"nothing was compared: {explained}"
    assert all(line.get("ok") is True for line in outcome.lines), explained


def check_table(module: ModuleType, program: Program) -> None:
    """The program has the scenarios of the module's tables and no others."""
    outcome = program.run("-", "list")
    assert outcome.status == 0, outcome.explain()
    named = {str(line["scenario"]) for line in outcome.lines}
    assert named - OTHERS == set(sentences(module, program.version))
