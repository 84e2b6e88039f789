"""The brokers that are compared, one module each: how it is built, started, and told to end."""

from __future__ import annotations

from benchmarks.peers.base import Peer
from benchmarks.peers.kafka import Kafka, KafkaFsync
from benchmarks.peers.kfake import Kfake
from benchmarks.peers.kgw import Kgw
from benchmarks.peers.kgw_sqlite import KgwSqlite, KgwSqliteNormal
from benchmarks.peers.kgw_variants import KgwBefore, KgwPure
from benchmarks.peers.nafka import Nafka
from benchmarks.peers.nisshi import Nisshi

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Kgw(),
        Kfake(),
        Kafka(),
        Nisshi(),
        Nafka(),
        KgwSqlite(),
        KgwSqliteNormal(),
        KafkaFsync(),
        KgwBefore(),
        KgwPure(),
    )
}
