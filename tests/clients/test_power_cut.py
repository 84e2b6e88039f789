"""Consumers of a log that loses records which they have read, when a machine loses its power (KIP-320)."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import toolchains
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from toolchains import Program

from kgw_core.testing.gateway import GatewayProcess
from kgw_core.testing.power import PowerCut

CLIENT = toolchains.JAVA
SECONDS = 60.0


@pytest.fixture
def machine(tmp_path: Path) -> PowerCut:
    """Its store is SQLite, and does not wait for the disk."""
    data = tmp_path / "data"
    config = f'[storage]\nuse = "sqlite"\nsynchronous = "normal"\npath = "{data / "kgw.db"}"\n'
    return PowerCut(tmp_path, data, config)


class Reader:
    """The program's scenario ``cut``: two consumers, which go on when they are told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read(self, end: int) -> dict[str, Any]:
        """Have them read up to ``end``; what the program says of it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{end}\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            said: dict[str, Any] = json.loads(line)
            if "check" not in said:
                return said
            assert said["ok"], said
        raise AssertionError("the program has ended")


@contextmanager
def reading(program: Program, gateway: GatewayProcess) -> Iterator[Reader]:
    process = subprocess.Popen(
        [*program.command, gateway.bootstrap, "cut", "t"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    impatient = threading.Timer(SECONDS, process.kill)
    impatient.start()
    try:
        with process:
            yield Reader(process)
    finally:
        impatient.cancel()


def produce(gateway: GatewayProcess, count: int) -> list[int]:
    """Send records one by one; their offsets."""
    producer = Producer({"bootstrap.servers": gateway.bootstrap, "batch.num.messages": 1})
    offsets: list[int] = []
    for _ in range(count):
        producer.produce(
            "t", b"v", partition=0, on_delivery=lambda _, message: offsets.append(message.offset())
        )
    producer.flush(SECONDS)
    return offsets


def create(gateway: GatewayProcess) -> None:
    client = AdminClient({"bootstrap.servers": gateway.bootstrap})
    client.create_topics([NewTopic("t", 1, 1)])["t"].result(SECONDS)


def test_what_a_power_cut_took_is_noticed(program: Program, machine: PowerCut) -> None:
    """They have read to offset 15; there are 30 records again, and only 10 of them are those they read."""
    with machine.serving() as gateway:
        create(gateway)
        produce(gateway, 10)
        machine.sync(gateway)
        assert produce(gateway, 5) == [10, 11, 12, 13, 14]
        with reading(program, gateway) as reader:
            assert reader.read(15) == {"read": 15}
            machine.cut(gateway)
            with machine.serving(elsewhere=True) as other:
                assert produce(other, 20) == list(range(10, 30)), "before the consumers are back"
            with machine.serving():
                said = reader.read(30)
    assert said["resetting"] == [[offset, 1] for offset in range(10, 30)], "from where the logs part"
    assert said["strict"] == {"diverges": 10}, "reported where nothing is reset"


def test_where_nothing_was_cut_they_go_on(program: Program, machine: PowerCut) -> None:
    with machine.serving() as gateway:
        create(gateway)
        produce(gateway, 15)
        with reading(program, gateway) as reader:
            assert reader.read(15) == {"read": 15}
            gateway.kill()
            with machine.serving() as again:
                assert produce(again, 15) == list(range(15, 30))
                said = reader.read(30)
    assert said["resetting"] == said["strict"] == [[offset, 1] for offset in range(15, 30)]
