"""IBM/sarama: producers, Consumer without a group, ClusterAdmin, at three Kafka versions."""

from __future__ import annotations

import sys

import scenarios
import toolchains
from toolchains import Program

from kgw_core.testing.gateway import GatewayProcess

CLIENT = toolchains.SARAMA
SCENARIOS = {
    "sync-producer": "keys, values, nulls, times and headers come back as written",
    "async-producer": "3,000 records over three partitions are where the producer was told",
    "idempotent": "the idempotent producer: every record once",
    "codecs": "every codec, small records and 300 kB of noise",
    "acks": "acks all, local and none write everything, in order",
    "consume-partition": "reading from any offset, also inside a batch",
    "consumer-waits": "a waiting consumer gets a record as soon as it is written",
    "client-offsets": "offsets by time, leader, controller, coordinator, producer id",
    "admin-topics": "topics validated, created, listed, described, refused, deleted",
    "admin-configs": "configs of a topic and of the broker",
    "transactional": "transactions are refused at once",
    "out-of-range": "an offset outside of the log is an error",
    "group": "a group takes some, leaves, goes on where it was; a commit's note",
    "as-0-10-2": "the same with Version V0_10_2_0, the last with message sets",
}
MATRIX = {
    "as-0-11": "the same with Version V0_11_0_0, the first with record batches",
    "as-1-1": "the same with Version V1_1_0_0",
    "as-2-8": "the same with Version V2_8_0_0",
}


def test_scenario(program: Program, gateway: GatewayProcess, scenario: str) -> None:
    """What the tables say of it."""
    scenarios.check(sys.modules[__name__], program, gateway.bootstrap, scenario)


def test_every_scenario_is_in_the_table(program: Program) -> None:
    """No scenario of the program is forgotten here."""
    scenarios.check_table(sys.modules[__name__], program)
