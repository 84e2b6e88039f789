"""Whatever was sent, every client reads all that is there: nothing corrupt stands in its way."""

from __future__ import annotations

from python_clients import CLIENTS

from kgw_core.testing.gateway import GatewayProcess
from tests.corrupt.answers import KGW, answers
from tests.corrupt.asking import Asking
from tests.corrupt.kinds import KINDS


def test_every_client_reads_past_whatever_was_sent(dev_gateway: GatewayProcess) -> None:
    table = answers(KGW)
    asking = Asking(dev_gateway.address)
    try:
        for kind in KINDS:
            if kind.group != "bomb":  # which takes a second
                assert asking.ask(kind) == table[kind.key], kind.key
    finally:
        asking.close()
    for kind_of_client in CLIENTS:
        client = kind_of_client(dev_gateway.bootstrap)
        for topic in asking.topics.values():
            start, end = client.bounds(topic, 0)
            got = client.consume(topic, {0: start}, end - start) if end > start else []
            assert [record.offset for record in got] == list(range(end)), (client.name, topic)
