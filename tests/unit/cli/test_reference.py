"""docs/reference/cli.md has every command and every option."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kgw_core.cli import main

PAGE = (Path(__file__).parents[3] / "docs/reference/cli.md").read_text(encoding="utf-8")


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with how it is called."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, f"{path} {name} is listed and cannot be had"
            yield from commands(inner, f"{path} {name}")
    else:
        yield path, command


@pytest.mark.parametrize(("path", "command"), list(commands(main, "kgw")))
def test_every_command_and_option_is_in_the_reference(path: str, command: click.Command) -> None:
    head = PAGE.find(f"# `{path}")
    assert head >= 0, f"{path} has no heading"
    section = PAGE[head:].partition("\n#")[0]
    around = (
        PAGE[PAGE.index("## `" + " ".join(path.split()[:2])) :].partition("\n## ")[0].partition("\n### ")[0]
    )
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for name in (*parameter.opts, *parameter.secondary_opts):
                assert f"`{name}" in section + around, f"{path} {name}"


def test_every_command_says_what_it_does() -> None:
    for path, command in commands(main, "kgw"):
        assert command.help, path
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, f"{path} {parameter.name}"
