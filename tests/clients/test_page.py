"""docs/reference/clients.md and the programs here name the same versions."""

from __future__ import annotations

from pathlib import Path

import test_franz_go
from toolchains import ALONE, CLIENTS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "clients.md"
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


def test_the_page_names_every_version() -> None:
    text = PAGE.read_text(encoding="utf-8")
    python = [line.strip() for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines()]
    wanted = [version for client in CLIENTS + ALONE for version in client.versions]
    wanted += test_franz_go.RELEASES
    wanted += [line.partition("==")[2] for line in python if "kafka" in line]
    missing = [version for version in wanted if f" {version}" not in text]
    assert not missing
