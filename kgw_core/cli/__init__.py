"""The command ``kgw``. Each command is a module, which is imported only when the command is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

COMMANDS = ("backup", "check-store", "dev", "groups", "plugins", "serve")


class Commands(click.Group):
    """Finds each command in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"kgw_core.cli.{cmd_name.replace('-', '_')}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """As in click, but Ctrl-C ends every command with status 130, as shells report it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(130)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kgw-core", prog_name="kgw")
def main() -> None:
    """A Kafka broker whose storage is a plugin."""
