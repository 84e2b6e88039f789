"""twmb/franz-go and its kadm."""

from __future__ import annotations

import sys

import scenarios
import toolchains
from toolchains import Program

from kgw_core.testing.gateway import GatewayProcess

CLIENT = toolchains.FRANZ_GO
SCENARIOS = {
    "produce-idempotent": "the default producer, idempotent: every record once, with its producer id",
    "produce-codecs": "every codec, kept as it was written",
    "produce-acks": "acks all, leader and none write everything, in order",
    "produce-many-flights": "6,000 records over three partitions in small batches stay in order",
    "produce-timestamps": "times, nulls and headers; the log's own time where the topic asks for it",
    "produce-too-large": "a record above max.message.bytes is refused, the next one is written",
    "produce-transaction": "transactions are refused at once",
    "topic-ids": "Produce v13 and Fetch by topic id, also when the name gets another id",
    "consume-offsets": "reading from any offset, from the end, a byte at a time, read_committed",
    "consume-after-milli": "reading from a time on",
    "consume-waits": "a waiting consumer gets a record as soon as it is written",
    "consume-topic": "a whole topic without a group",
    "group": "a group takes some, leaves, goes on where it was; kadm's calls for groups",
    "admin-topics": "topics validated, created, listed, refused, deleted by name and by id",
    "admin-offsets": "start, end, committed, largest timestamp, after a time",
    "admin-configs": "configs of a topic and of the broker",
    "admin-metadata": "metadata and API versions",
    "admin-cluster": "configs of a broker and of all, a replica's log dir, the quorum, features",
    "admin-changes": "more partitions, records deleted, configs altered, log dirs, offset for leader epoch",
}
RELEASES = (
    *("0.8.2", "0.9.0", "0.10.0", "0.10.2", "0.11.0", "1.0.0", "1.1.0", "2.0.0", "2.1.0", "2.3.0", "2.8.0"),
    *("3.0.0", "3.1.0", "3.5.0", "3.9.0", "4.0.0", "4.4.0"),
)
MATRIX = {
    f"as-{one}": f"requests no newer than Kafka {one}'s: every codec, admin, a group" for one in RELEASES
}


def test_scenario(program: Program, gateway: GatewayProcess, scenario: str) -> None:
    """What the tables say of it."""
    scenarios.check(sys.modules[__name__], program, gateway.bootstrap, scenario)


def test_every_scenario_is_in_the_table(program: Program) -> None:
    """No scenario of the program is forgotten here."""
    scenarios.check_table(sys.modules[__name__], program)
