"""kafkajs: producers, consumers (in groups only), admin."""

from __future__ import annotations

import sys

import scenarios
import toolchains
from toolchains import Program

from kgw_core.testing.gateway import GatewayProcess

CLIENT = toolchains.KAFKAJS
SCENARIOS = {
    "producer-plain": "acks -1, 1 and 0, with the offsets that the answers give",
    "producer-idempotent": "the idempotent producer: every record once",
    "producer-gzip": "a gzip batch",
    "producer-keys": "keyed records over four partitions in one request",
    "producer-transactional": "transactions are refused at once",
    "admin-topics": "topics validated, created, listed, described, refused, deleted; the cluster",
    "admin-offsets": "offsets of a topic, and by time",
    "admin-configs": "configs of a topic",
    "group": "a group takes some, leaves, goes on where it was; the admin's calls for groups",
}


def test_scenario(program: Program, gateway: GatewayProcess, scenario: str) -> None:
    """What the tables say of it."""
    scenarios.check(sys.modules[__name__], program, gateway.bootstrap, scenario)


def test_every_scenario_is_in_the_table(program: Program) -> None:
    """No scenario of the program is forgotten here."""
    scenarios.check_table(sys.modules[__name__], program)
