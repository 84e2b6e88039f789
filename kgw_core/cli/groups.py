"""``kgw groups``: lists, describes, resets and deletes the consumer groups of any broker."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import click

from kgw_core.cli.admin_options import Asking, asks, run

STATES = (
    "Empty", "Stable", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "NotReady",
    "Dead",
)  # fmt: skip
"""The states of Kafka 4.4, for all types of groups."""
TYPES = ("classic", "consumer", "share", "streams")

_EXECUTE = click.option("--execute", is_flag=True, help="Do it; without this it is only shown.")


def _known(
    names: tuple[str, ...], _: click.Context, __: click.Parameter, wanted: tuple[str, ...]
) -> tuple[str, ...]:
    """Check names without regard to case. :raises click.BadParameter: a name is unknown."""
    known = {name.lower() for name in names}
    wrong = [text for text in wanted if text.lower() not in known]
    if wrong:
        raise click.BadParameter(f"there is no {', '.join(wrong)}; expected {_either(names)}")
    return wanted


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


@click.group("groups")
def command() -> None:
    """Consumer groups of any broker: list, describe, reset offsets, delete."""


@command.command("list")
@asks
@click.option(
    "--state",
    "states",
    multiple=True,
    callback=partial(_known, STATES),
    metavar="STATE",
    help="Only groups in this state, such as Stable or Empty.",
)
@click.option(
    "--type", "types", multiple=True, callback=partial(_known, TYPES), metavar="TYPE",
    help="Only groups of this type, such as classic or consumer.",
)  # fmt: skip
def list_groups(asking: Asking, states: tuple[str, ...], types: tuple[str, ...]) -> None:
    """List all groups."""
    from kgw_core.cli import groups_shown

    run(lambda: groups_shown.list_groups(asking, states, types))


@command.command("describe")
@asks
@click.argument("groups", nargs=-1, required=True, metavar="GROUP…")
@click.option("--members", is_flag=True, help="A row for each member, not for each partition.")
def describe(asking: Asking, groups: tuple[str, ...], members: bool) -> None:
    """Show where groups are, how far behind, and who is in them.

    Lag is what lies between a group's place in a partition and the partition's end.
    """
    from kgw_core.cli import groups_shown

    run(lambda: groups_shown.describe(asking, groups, members))


@command.command("reset-offsets")
@asks
@click.argument("group")
@click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar="TOPIC[:PARTITION,…]",
    help="All partitions of a topic, or these.",
)
@click.option("--all-topics", is_flag=True, help="All partitions that the group has a place in.")
@click.option("--to-earliest", is_flag=True, help="To the first record that is there.")
@click.option("--to-latest", is_flag=True, help="To the end: only what comes from now on.")
@click.option(
    "--to-datetime", metavar="TIME", help="To the first record that is not older: 2026-01-31T14:30[+01:00]."
)
@click.option("--to-offset", type=click.IntRange(min=0), help="To this offset in each partition.")
@click.option("--shift-by", type=int, metavar="N", help="By so many offsets, back where N is negative.")
@_EXECUTE
def reset_offsets(
    asking: Asking, group: str, topics: tuple[str, ...],
    all_topics: bool, to_earliest: bool, to_latest: bool, to_datetime: str | None, to_offset: int | None,
    shift_by: int | None, execute: bool,
) -> None:  # fmt: skip
    """Give a group other places to go on from.

    Shows what would change; --execute does it. The group must have no members then. Whatever would lie
    outside of a partition goes to its beginning or end.
    """
    from kgw_core.cli import groups_changed
    from kgw_core.client.resetting import Target

    targets = [Target("earliest")] * to_earliest + [Target("latest")] * to_latest
    if to_datetime is not None:
        targets.append(Target("datetime", _milliseconds(to_datetime)))
    if to_offset is not None:
        targets.append(Target("offset", to_offset))
    if shift_by is not None:
        targets.append(Target("shift", shift_by))
    if len(targets) != 1:
        raise click.UsageError(
            "say where to: one of --to-earliest, --to-latest, --to-datetime, --to-offset, --shift-by"
        )
    if bool(topics) == all_topics:
        raise click.UsageError("say of which partitions: --topic, once or more, or --all-topics")
    wanted = [_topic(text) for text in topics]
    run(lambda: groups_changed.reset_offsets(asking, group, wanted, targets[0], execute=execute))


@command.command("delete")
@asks
@click.argument("groups", nargs=-1, required=True, metavar="GROUP…")
@_EXECUTE
def delete(asking: Asking, groups: tuple[str, ...], execute: bool) -> None:
    """Delete groups that have no members, with all their offsets.

    Shows what would be deleted; --execute does it.
    """
    from kgw_core.cli import groups_changed

    run(lambda: groups_changed.delete(asking, groups, execute=execute))


def _milliseconds(text: str) -> int:
    try:
        time = round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):  # the last two: no such time here
        raise click.BadParameter(
            f'"{text}" is no time: 2026-01-31T14:30:00+01:00 is one; without an offset it is local time',
            param_hint="--to-datetime",
        ) from None
    if time < 0:  # for a broker, negative times mean the beginning, the end and others
        raise click.BadParameter(f'"{text}" is before 1970; no record is', param_hint="--to-datetime")
    return time


def _topic(text: str) -> tuple[str, list[int] | None]:
    name, colon, rest = text.partition(":")
    if not colon:
        return name, None
    parts = rest.split(",")
    if not name or not all(part.isdecimal() for part in parts):
        raise click.BadParameter(
            f'"{text}" is no TOPIC[:PARTITION,…]: orders:0,3 is one', param_hint="--topic"
        )
    return name, [int(part) for part in parts]
