"""docs/reference/cli.md has every command and every option."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kgw_core.cli import main

SOURCE = Path(__file__).parents[3]
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


def names_of_work() -> set[str]:
    """How background work is called, up to what varies, wherever it is begun."""
    names: set[str] = set()
    begin = {"every", "until_done", "keep", "chore", "Tries", "start_soon"}
    for path in [*SOURCE.glob("kgw_core/**/*.py"), *SOURCE.glob("plugins/*/src/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in begin:
                for each in node.args:
                    text = each.values[0] if isinstance(each, ast.JoinedStr) else each
                    if isinstance(text, ast.Constant) and isinstance(text.value, str):
                        names.add(text.value.strip())
    return names


def test_all_that_the_health_file_may_name_is_in_the_reference() -> None:
    names = names_of_work()
    assert len(names) >= 15
    assert [name for name in sorted(names) if f"`{name}" not in PAGE] == []
