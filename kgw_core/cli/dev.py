"""``kgw dev``: a broker for a laptop or a test, with memory storage, auto-created topics and no config."""

from __future__ import annotations

from pathlib import Path

import click

from kgw_core.cli.options import running_options


@click.command("dev")
@click.option("--host", default=None, help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port", type=int, default=None, help="Port to listen on, 0 for any free one.  [default: 9092]"
)
@click.option(
    "--advertise", default=None, metavar="HOST[:PORT]", help="What clients are told to dial, behind NAT."
)
@click.option(
    "--topic", "topics", multiple=True, metavar="NAME[:PARTITIONS]", help="Create this topic at start."
)
@running_options
def command(
    host: str | None,
    port: int | None,
    advertise: str | None,
    topics: tuple[str, ...],
    ready_file: Path | None,
    health_file: Path | None,
    verbose: bool,
) -> None:
    """Run a broker that keeps everything in memory and needs no config."""
    from kgw_core.cli import running
    from kgw_core.config import read_options

    running.run(
        lambda: read_options(host=host, port=port, advertise=advertise, topics=topics),
        ready_file=ready_file,
        health_file=health_file,
        verbose=verbose,
    )
