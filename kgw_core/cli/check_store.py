"""``kgw check-store``: checks the integrity of a broker's data."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("check-store")
@click.option(
    "--config", "path", type=click.Path(path_type=Path), required=True, help="The broker's TOML file."
)
def command(path: Path) -> None:
    """Read all data of the broker that a config file describes, and say what is wrong with it.

    The broker may be running. The status is 0 where nothing is wrong, else 1.
    """
    import anyio

    from kgw_core.cli.stored import configured_store
    from kgw_core.errors import KafkaError

    store = configured_store(path)
    try:
        problems = anyio.run(store.check)
    except (KafkaError, NotImplementedError) as error:
        raise click.ClickException(f"storage {store.name}: {error}") from None
    for problem in problems:
        click.echo(problem)
    if problems:
        click.echo(f"{len(problems)} problem(s)", err=True)
        sys.exit(1)
    click.echo("nothing is wrong")
