"""``kgw plugins``: lists the installed plugins, and with ``--check`` whether each fits this core."""

from __future__ import annotations

import traceback

import click

from kgw_core import plugins
from kgw_core.records import walk


@click.command("plugins")
@click.option("--check", is_flag=True, help="Import each, and show the traceback of those that fail.")
def command(check: bool) -> None:
    """Show the plugins that are installed, and whether the check of records is compiled code.

    With --check the status is 1 where one of them cannot be used.
    """
    failed = False
    for plugin in plugins.found():
        line = f"{plugin.kind} {plugin.name} ({plugin.distribution})"
        if not check:
            click.echo(line)
            continue
        try:
            plugins.check(plugin)
        except plugins.PluginError as error:
            failed = True
            click.echo(f"{line}: {error}")
            if error.__cause__ is not None:
                click.echo("".join(traceback.format_exception(error.__cause__)).rstrip())
        else:
            click.echo(f"{line}: fits")
    click.echo(f"check of records (kgw-core): {'compiled' if walk.COMPILED else 'pure Python'}")
    if failed:
        raise SystemExit(1)
