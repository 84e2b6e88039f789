"""``kgw groups list`` and ``describe``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from kgw_core.cli.admin_options import Asking
from kgw_core.cli.tables import print_json, print_table, wants_json
from kgw_core.client import Client, ClientError, groups
from kgw_core.client.offsets import LATEST, Partition, list_offsets
from kgw_core.errors import KafkaError


async def list_groups(asking: Asking, states: Sequence[str], types: Sequence[str]) -> None:
    """Print all groups, or those in these states and of these types."""
    async with asking.client() as client:
        found = await groups.list_groups(client)
    for wanted, column in ((states, "state"), (types, "type")):
        if wanted:
            if any(not getattr(one, column) for one in found):
                raise ClientError(f"the broker is too old to tell the {column} of a group")
            lower = {text.lower() for text in wanted}
            found = [one for one in found if getattr(one, column).lower() in lower]
    if wants_json(asking.as_json):
        print_json([one._asdict() for one in found])
    elif found:
        rows = [(one.group, one.type, one.protocol_type, one.state, one.coordinator) for one in found]
        print_table(("GROUP", "TYPE", "PROTOCOL", "STATE", "COORDINATOR"), rows)
    else:
        click.echo("no groups")


async def describe(asking: Asking, names: Sequence[str], members: bool) -> None:
    """Print each group, and the failures at the end."""
    documents, failures = [], []
    async with asking.client() as client:
        for name in dict.fromkeys(names):
            try:
                documents.append(await _described(client, name))
            except KafkaError as error:
                failures.append(f"{name}: {error}")
    if wants_json(asking.as_json):
        print_json(documents)
    else:
        for number, document in enumerate(documents):
            if number:
                click.echo()
            _print(document, members)
    if failures:
        raise ClientError("\n".join(failures))


async def _described(client: Client, name: str) -> dict[str, Any]:
    """The description of a group, as it is printed in JSON."""
    group = await groups.describe(client, name)
    places = await groups.committed(client, name)
    owners: dict[Partition, groups.Member] = {}
    for member in group.members:
        owners.update(dict.fromkeys(member.partitions or (), member))
    partitions = sorted(places.keys() | owners.keys())
    ends = await list_offsets(client, dict.fromkeys(partitions, LATEST))
    offsets = []
    for partition in partitions:
        place, end, owner = places.get(partition), ends.get(partition), owners.get(partition)
        known = end if isinstance(end, int) else None
        offsets.append(
            {
                "topic": partition[0],
                "partition": partition[1],
                "committed": place.offset if place else None,
                "leader_epoch": place.leader_epoch if place and place.leader_epoch >= 0 else None,
                "metadata": place.metadata if place else None,
                "end": known,
                "lag": max(known - place.offset, 0) if place and known is not None else None,
                "member": owner.id if owner else None,
                "host": owner.host if owner else None,
                "client_id": owner.client_id if owner else None,
                "error": str(end) if isinstance(end, KafkaError) else None,
            }
        )
    lags = [row["lag"] for row in offsets if isinstance(row["lag"], int)]
    return {
        "group": group.group,
        "type": group.type,
        "state": group.state,
        "protocol_type": group.protocol_type,
        "protocol": group.protocol,
        "coordinator": group.coordinator._asdict(),
        "lag": sum(lags) if lags else None,
        "members": [
            {
                "id": member.id,
                "instance_id": member.instance_id,
                "client_id": member.client_id,
                "host": member.host,
                "partitions": None
                if member.partitions is None
                else [{"topic": topic, "partition": index} for topic, index in member.partitions],
            }
            for member in group.members
        ],
        "offsets": offsets,
    }


def _print(group: dict[str, Any], members: bool) -> None:
    place = group["coordinator"]
    protocol = "/".join(filter(None, (group["protocol_type"], group["protocol"])))
    click.echo(
        f"{group['group']}: {group['type']}, {group['state']}, {protocol or 'no protocol'},"
        f" {_count(len(group['members']), 'member')}, lag {'-' if group['lag'] is None else group['lag']},"
        f" coordinator {place['id']} at {place['host']}:{place['port']}"
    )
    if members:
        if group["members"]:
            print_table(
                ("MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"),
                [
                    (one["id"], one["instance_id"], one["client_id"], one["host"], _few(one["partitions"]))
                    for one in group["members"]
                ],
            )
        return
    if group["offsets"]:
        columns = ("topic", "partition", "committed", "end", "lag", "member", "host", "client_id")
        heads = ("TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "HOST", "CLIENT")
        print_table(heads, [[row[column] for column in columns] for row in group["offsets"]])
    for row in group["offsets"]:
        if row["error"]:
            click.echo(f"{row['topic']}-{row['partition']}: {row['error']}")
    idle = sum(one["partitions"] == [] for one in group["members"])
    if idle:
        click.echo(f"{_count(idle, 'member')} without partitions: --members shows them")


def _few(partitions: list[dict[str, Any]] | None) -> str | None:
    """Partitions in short form: orders:0,1 users:2."""
    if partitions is None:
        return None
    topics: dict[str, list[str]] = {}
    for one in partitions:
        topics.setdefault(one["topic"], []).append(str(one["partition"]))
    return " ".join(f"{topic}:{','.join(indexes)}" for topic, indexes in topics.items())


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
