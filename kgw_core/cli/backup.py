"""``kgw backup``: copies all data of a broker, which may be running."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("backup")
@click.option(
    "--config", "path", type=click.Path(path_type=Path), required=True, help="The broker's TOML file."
)
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
def command(path: Path, target: Path) -> None:
    """Copy all data of the broker that a config file describes to FILE, as it is at one moment.

    The broker may be running. FILE must not be there yet.
    """
    import anyio

    from kgw_core.cli.stored import configured_store
    from kgw_core.errors import KafkaError

    store = configured_store(path)
    try:
        anyio.run(store.backup, target)
    except (KafkaError, NotImplementedError) as error:
        raise click.ClickException(f"storage {store.name}: {error}") from None
    click.echo(f"all data is in {target}, {target.stat().st_size:,} bytes")
