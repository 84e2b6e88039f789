"""@platformatic/kafka: producers, consumers in groups, admin."""

from __future__ import annotations

import sys

import scenarios
import toolchains
from toolchains import Program

from kgw_core.testing.gateway import GatewayProcess

CLIENT = toolchains.PLATFORMATIC
SCENARIOS = {
    "produce-consume": "keys, nulls, headers and times as they were written; offsets by time",
    "codecs": "plain and gzip",
    "idempotent": "the idempotent producer: every record once",
    "acks-0": "writes without an answer",
    "creates-topic": "a missing topic is created, unless its name is not allowed",
    "group": "members come and go, commit, lag; the admin's calls for groups and offsets",
    "admin": "topics, partitions, configs, offsets, records deleted, log directories",
    "transactional": "transactions are refused at once",
}


def test_scenario(program: Program, gateway: GatewayProcess, scenario: str) -> None:
    """What the tables say of it."""
    scenarios.check(sys.modules[__name__], program, gateway.bootstrap, scenario)


def test_every_scenario_is_in_the_table(program: Program) -> None:
    """No scenario of the program is forgotten here."""
    scenarios.check_table(sys.modules[__name__], program)
