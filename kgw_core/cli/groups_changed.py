"""``kgw groups reset-offsets`` and ``delete``: they show the change, and make it with ``--execute``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from kgw_core.cli.admin_options import Asking
from kgw_core.cli.tables import print_json, print_table, wants_json
from kgw_core.client import Client, ClientError, groups
from kgw_core.client.offsets import EARLIEST, LATEST, Partition, list_offsets
from kgw_core.client.resetting import Target, plan
from kgw_core.errors import GroupIdNotFound, KafkaError

NO_GROUP = "none"
FREE = ("Empty", NO_GROUP)
"""The states in which a group's offsets may be changed by an admin tool."""

DRY_RUN = "dry run: nothing was changed; --execute does it"

Wanted = Sequence[tuple[str, list[int] | None]]
"""Topics, each with its partitions, or None for all of them."""


async def _state(client: Client, group: str) -> str:
    try:
        return (await groups.describe(client, group)).state
    except GroupIdNotFound:
        return NO_GROUP


async def reset_offsets(
    asking: Asking, group: str, topics: Wanted, target: Target, *,
    execute: bool,
) -> None:  # fmt: skip
    """Show the group's new offsets, or commit them. Without ``topics``: for all committed partitions."""
    async with asking.client() as client:
        state = await _state(client, group)
        if execute and state not in FREE:
            raise ClientError(f"group {group} is {state}: stop its members first")
        current = {place: found.offset for place, found in (await groups.committed(client, group)).items()}
        partitions = await _partitions(client, topics) if topics else sorted(current)
        if not partitions:
            raise ClientError(f"group {group} has no place in any partition: name some with --topic")
        earliest = await list_offsets(client, dict.fromkeys(partitions, EARLIEST))
        latest = await list_offsets(client, dict.fromkeys(partitions, LATEST))
        at_time = {}
        if target.kind == "datetime":
            at_time = dict(await list_offsets(client, dict.fromkeys(partitions, target.value)))
        steps = plan(target, partitions, current, earliest, latest, at_time)
        outcome: dict[Partition, KafkaError | None] = {}
        if execute:
            outcome = await groups.commit(
                client, group, {(step.topic, step.partition): step.new for step in steps}
            )
    failed = {place: error for place, error in outcome.items() if error is not None}
    if wants_json(asking.as_json):
        rows = []
        for step in steps:
            error = failed.get((step.topic, step.partition))
            rows.append({**step._asdict(), "note": step.note or None, "error": str(error) if error else None})
        print_json({"group": group, "state": state, "executed": execute, "partitions": rows})
    else:
        heads = ("TOPIC", "PARTITION", "CURRENT", "NEW", "CHANGE", "NOTE")
        changes = [None if step.current is None else step.new - step.current for step in steps]
        print_table(
            heads, [(*step[:4], change, step.note) for step, change in zip(steps, changes, strict=True)]
        )
    if failed:
        raise ClientError("\n".join(f"{topic}-{index}: {error}" for (topic, index), error in failed.items()))
    if not execute:
        click.echo(DRY_RUN, err=True)
        if state not in FREE:
            click.echo(f"group {group} is {state}: stop its members before", err=True)


async def _partitions(client: Client, topics: Wanted) -> list[Partition]:
    known = await client.topics(name for name, _ in topics)
    found, missing = [], []
    for name, asked in topics:
        topic = known.get(name)
        if topic is None:
            missing.append(f"there is no topic {name}")
            continue
        indexes = sorted(part.partition_index for part in topic.partitions)
        for index in indexes if asked is None else asked:
            if index in indexes:
                found.append((name, index))
            else:
                missing.append(f"topic {name} has {len(indexes)} partitions: there is no {name}-{index}")
    if missing:
        raise ClientError("\n".join(missing))
    return found


async def delete(asking: Asking, names: Sequence[str], *, execute: bool) -> None:
    """Show which groups would be deleted, or delete them."""
    rows: list[dict[str, Any]] = []
    async with asking.client() as client:
        for name in dict.fromkeys(names):
            state = await _state(client, name)
            places = len(await groups.committed(client, name))
            error = None if state in FREE else f"group {name} is {state}: stop its members first"
            if state == NO_GROUP:
                error = f"there is no group {name}"
            rows.append({"group": name, "state": state, "offsets": places, "deleted": False, "error": error})
        if execute:
            outcome = await groups.delete(client, [row["group"] for row in rows if row["error"] is None])
            for row in rows:
                if row["group"] in outcome:
                    failure = outcome[row["group"]]
                    row["deleted"], row["error"] = failure is None, str(failure) if failure else None
    if wants_json(asking.as_json):
        print_json(rows)
    else:
        heads = ("GROUP", "STATE", "OFFSETS", "DELETED")
        print_table(
            heads, [(row["group"], row["state"], row["offsets"], _deleted(row, execute)) for row in rows]
        )
    if not execute:
        click.echo(DRY_RUN, err=True)
    failed = [row["error"] for row in rows if row["error"]]
    if failed:
        raise ClientError("\n".join(failed))


def _deleted(row: dict[str, Any], execute: bool) -> str:
    return "yes" if row["deleted"] else "no" if execute or row["error"] else "would be"
