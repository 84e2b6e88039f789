"""Turns wrong settings into one message and an exit status."""

from __future__ import annotations

import click

from kgw_core.spi.settings import ConfigError


def refused(error: ConfigError) -> click.ClickException:
    """The exception of a command: a usage error with status 2 if a command-line option is wrong, else status
    1."""
    options = any(problem.startswith("--") for problem in error.problems)
    return (click.UsageError if options else click.ClickException)(str(error))
