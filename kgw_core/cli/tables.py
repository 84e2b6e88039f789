"""The output of commands: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click


def wants_json(asked: bool | None) -> bool:
    """Whether to print JSON: as ``asked``, else if the output is no terminal."""
    return asked if asked is not None else not sys.stdout.isatty()


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print aligned columns, with numbers to the right and ``-`` for unknown values."""
    lines = [list(heads)]
    numeric = [False] * len(heads)
    for row in rows:
        for column, cell in enumerate(row):
            numeric[column] |= isinstance(cell, int)
        lines.append(["-" if cell is None or cell == "" else str(cell) for cell in row])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        click.echo("  ".join(cells).rstrip())
