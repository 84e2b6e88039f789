"""segmentio/kafka-go: Writer, Reader without a group, Conn, Client."""

from __future__ import annotations

import sys

import scenarios
import toolchains
from toolchains import Program

from kgw_core.testing.gateway import GatewayProcess

CLIENT = toolchains.KAFKA_GO
SCENARIOS = {
    "writer-sync": "keys, values, nulls, times and headers come back as written",
    "writer-codecs": "every codec, small records and 300 kB of noise",
    "writer-acks": "acks all, one and none all write everything, in order",
    "writer-async": "3,000 records over three partitions are where the completion said",
    "writer-balancers": "each balancer's records are in the partition it chose",
    "writer-many-topics": "one Writer, records for three topics",
    "writer-creates-topic": "a missing topic is an error, or is created where the Writer allows it",
    "writer-too-large": "a record above max.message.bytes is refused, the next one is written",
    "reader-offsets": "reading from any offset, also inside a batch",
    "reader-time": "reading from a time on",
    "reader-waits": "a waiting Reader gets a record as soon as it is written",
    "reader-lag": "the lag is what is left to read",
    "reader-two-partitions": "partitions do not mix",
    "conn-batch": "a Conn writes batches, reads them whole and from their middle, seeks",
    "conn-compressed": "compressed batches through a Conn, with their offsets",
    "conn-offsets": "first and last offset, and offsets by time",
    "conn-topics": "topics created, read and deleted through a Conn",
    "conn-cluster": "brokers, controller, leaders and API versions",
    "conn-out-of-range": "an offset outside of the log is an error",
    "client-metadata": "metadata of one topic and of all",
    "client-produce-fetch": "Produce and Fetch by hand, every codec; a fetch at the end waits as told",
    "client-raw-errors": "bad acks and bad offsets are answered with Kafka's errors",
    "client-list-offsets": "first, last and by time, of several partitions at once",
    "client-topics": "topics validated, created, refused, deleted, and created again empty",
    "client-describe-configs": "configs of a topic, its own and the defaults; a bad one is refused",
    "client-producer-id": "producer ids differ; a transactional id is refused at once",
    "reader-group": "a Reader in a group takes some, commits, leaves; the next goes on there",
    "client-groups": "groups listed, described, deleted; offsets committed, fetched, deleted",
    "client-api-versions": "the APIs that are served",
}


def test_scenario(program: Program, gateway: GatewayProcess, scenario: str) -> None:
    """What the tables say of it."""
    scenarios.check(sys.modules[__name__], program, gateway.bootstrap, scenario)


def test_every_scenario_is_in_the_table(program: Program) -> None:
    """No scenario of the program is forgotten here."""
    scenarios.check_table(sys.modules[__name__], program)
