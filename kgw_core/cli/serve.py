"""``kgw serve``: the broker that a config file describes."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("serve")
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The TOML file.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Write the addresses here when ready.")
@click.option("-v", "--verbose", is_flag=True, help="Show every request.")
def command(path: Path, ready_file: Path | None, verbose: bool) -> None:
    """Run the broker that a config file describes."""
    from kgw_core.cli import running
    from kgw_core.config import read_file

    running.run(lambda: read_file(path), ready_file=ready_file, verbose=verbose)
