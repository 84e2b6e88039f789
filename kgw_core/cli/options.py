"""The common options of ``kgw dev`` and ``kgw serve``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def running_options(command: F) -> F:
    """Add the options of a command that runs a broker: ``ready_file``, ``health_file`` and ``verbose``."""
    path = click.Path(path_type=Path)
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Show every request."),
        click.option("--health-file", type=path, help="Write here, in JSON, what fails at present."),
        click.option("--ready-file", type=path, help="Write the addresses here when ready."),
    ):
        command = option(command)
    return command
