"""What one client library writes, every other reads: keys, values, nulls, headers, times, all codecs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import scenarios
import toolchains
from toolchains import CLIENTS, CODECS, Client, Program

from kgw_core.testing.gateway import GatewayProcess

START = 1_700_000_000_000
COUNT = 40

ROSTER = [(client, version) for client in CLIENTS for version in client.versions]
PAIRS = [
    pytest.param(
        writer,
        reader,
        id=f"{writer[0].name}-{writer[1]}-to-{reader[0].name}-{reader[1]}",
        marks=scenarios.marks(writer[0].everywhere(writer[1]) and reader[0].everywhere(reader[1])),
    )
    for writer in ROSTER
    for reader in ROSTER
    if writer[0].current or reader[0].current
]


def records(headers: bool) -> list[dict[str, Any]]:
    """What is written into each partition."""
    return [
        {
            "timestamp": START + i * 1001,
            "key": None if i % 5 == 0 else f"key {i} ü",
            "value": None if i % 6 == 1 else f"value {i} " + "ab" * i,
            "headers": [
                ["n", str(i)],
                *([["same", "1"], ["same", "2"], ["empty", ""]] if i % 3 == 0 else []),
            ]
            if headers
            else [],
        }
        for i in range(COUNT)
    ]


@pytest.fixture(scope="module")
def write(
    built: Callable[[Client, str], Program], shared_gateway: GatewayProcess
) -> Callable[[Client, str], None]:
    """Has a version of a client write to its topic, once."""
    done: set[str] = set()

    def run(client: Client, version: str) -> None:
        topic, about = toolchains.topic_of(client, version), client.versions[version]
        if topic not in done:
            parts = [
                {"codec": codec, "partition": CODECS.index(codec), "records": records(about.headers)}
                for codec in about.codecs
            ]
            outcome = built(client, version).run(
                shared_gateway.bootstrap, "write", topic, stdin=json.dumps(parts)
            )
            assert outcome.status == 0, outcome.explain()
            done.add(topic)

    return run


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_one_reads_what_another_wrote(
    writer: tuple[Client, str],
    reader: tuple[Client, str],
    write: Callable[[Client, str], None],
    built: Callable[[Client, str], Program],
    gateway: GatewayProcess,
) -> None:
    """Each record is read as it was written, through every codec that both have."""
    program = built(*reader)
    write(*writer)
    wrote, reads = writer[0].versions[writer[1]], reader[0].versions[reader[1]]
    partitions = [CODECS.index(codec) for codec in wrote.codecs if codec in reads.codecs]
    outcome = program.run(gateway.bootstrap, "read", toolchains.topic_of(*writer), *map(str, partitions))
    assert outcome.status == 0, outcome.explain()
    assert list(outcome.lines) == [
        {"partition": partition, "offset": offset, **record}
        for partition in partitions
        for offset, record in enumerate(records(wrote.headers and reads.headers))
    ]
