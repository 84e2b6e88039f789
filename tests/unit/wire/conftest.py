"""The golden vectors, and the helpers that several tests share."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

VECTORS = Path(__file__).parent / "vectors"


class Vector(NamedTuple):
    """One row: the bytes that Kafka's Java client of `release` writes for `json`."""

    release: str
    message: str
    version: int
    data: bytes
    json: Any


@pytest.fixture(scope="session")
def vectors() -> list[Vector]:
    rows = []
    for release in ("4.4.0", "3.9.1"):
        with gzip.open(VECTORS / f"kafka-{release}.tsv.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                name, version, data, text = line.rstrip("\n").split("\t")
                rows.append(Vector(release, name, int(version), bytes.fromhex(data), json.loads(text)))
    return rows
