"""The two brokers that are compared: at an address that is given, else started here."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers.base import Server
from benchmarks.peers.kafka import Kafka
from benchmarks.raw import Address
from kgw_core.testing.gateway import gateway_process


class PlainKafka(Kafka):
    """With its own defaults wherever one node can have them."""

    def prepare(self, port: int, folder: Path) -> None:
        super().prepare(port, folder)
        properties = folder / "server.properties"
        lines = properties.read_text().splitlines()
        properties.write_text("\n".join(line for line in lines if not line.startswith("log.segment.")))


def address(text: str) -> Address:
    """The address in ``"host:port"``. :raises ValueError:"""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def kafka(given: str | None, stack: ExitStack) -> Address:
    """Where a Kafka listens; one from Maven Central where none is given."""
    if given is not None:
        return address(given)
    peer = PlainKafka()
    peer.build()
    return stack.enter_context(Server(peer)).address


def kgw(given: str | None, stack: ExitStack) -> Address:
    """Where a kgw listens; one with its records in memory where none is given."""
    if given is not None:
        return address(given)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="replay-")))
    return stack.enter_context(gateway_process(folder)).address
