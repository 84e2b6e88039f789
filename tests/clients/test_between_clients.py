"""What one client library writes, every other reads: keys, values, nulls, headers, times, all codecs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import toolchains
from toolchains import CLIENTS, CODECS, Client, Program

from kgw_core.testing.gateway import GatewayProcess

START = 1_700_000_000_000
COUNT = 40


def records() -> list[dict[str, Any]]:
    """What is written into each partition."""
    return [
        {
            "timestamp": START + i * 1001,
            "key": None if i % 5 == 0 else f"key {i} ü",
            "value": None if i % 6 == 1 else f"value {i} " + "ab" * i,
            "headers": [
                ["n", str(i)],
                *([["same", "1"], ["same", "2"], ["empty", ""]] if i % 3 == 0 else []),
            ],
        }
        for i in range(COUNT)
    ]


@pytest.fixture(scope="module")
def written(
    built: Callable[[Client, str], Program], shared_gateway: GatewayProcess
) -> Callable[[Client], list[dict[str, Any]]]:
    """Has a client write to its topic, once, and tells what a reader is to find there."""
    done: dict[str, list[dict[str, Any]]] = {}

    def write(client: Client) -> list[dict[str, Any]]:
        if client.name not in done:
            parts = [
                {"codec": codec, "partition": index, "records": records()}
                for index, codec in enumerate(CODECS)
                if codec in client.writes
            ]
            program = built(client, client.wanted()[0])
            topic = toolchains.topic_of(client)
            outcome = program.run(shared_gateway.bootstrap, "write", topic, stdin=json.dumps(parts))
            assert outcome.status == 0, outcome.explain()
            done[client.name] = [
                {"partition": part["partition"], "offset": offset, **record}
                for part in parts
                for offset, record in enumerate(records())
            ]
        return done[client.name]

    return write


@pytest.mark.parametrize(
    "reader", [client for client in CLIENTS if client.reads], ids=lambda client: client.name
)
@pytest.mark.parametrize("writer", CLIENTS, ids=lambda client: client.name)
def test_one_reads_what_another_wrote(
    writer: Client,
    reader: Client,
    written: Callable[[Client], list[dict[str, Any]]],
    built: Callable[[Client, str], Program],
    gateway: GatewayProcess,
) -> None:
    """Each record is read as it was written, through every codec that the writer has."""
    expected = written(writer)
    program = built(reader, reader.wanted()[0])
    outcome = program.run(gateway.bootstrap, "read", toolchains.topic_of(writer))
    assert outcome.status == 0, outcome.explain()
    assert list(outcome.lines) == expected
