"""``kgw serve``: runs a broker with the settings of a config file."""

from __future__ import annotations

from pathlib import Path

import click

from kgw_core.cli.options import running_options


@click.command("serve")
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The TOML file.")
@running_options
def command(path: Path, ready_file: Path | None, health_file: Path | None, verbose: bool) -> None:
    """Run the broker that a config file describes."""
    from kgw_core.cli import running
    from kgw_core.config import read_file

    running.run(lambda: read_file(path), ready_file=ready_file, health_file=health_file, verbose=verbose)
