"""What becomes of wrong settings: one message, and the status that says whose mistake it is."""

from __future__ import annotations

import click

from kgw_core.spi.settings import ConfigError


def refused(error: ConfigError) -> click.ClickException:
    """What a command raises: a usage error, status 2, where an option of the command line is wrong."""
    options = any(problem.startswith("--") for problem in error.problems)
    return (click.UsageError if options else click.ClickException)(str(error))
