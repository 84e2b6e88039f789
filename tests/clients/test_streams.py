"""Kafka Streams: applications with at_least_once, their stores in memory and in changelogs."""

from __future__ import annotations

import sys

import scenarios
import toolchains
from toolchains import Program

from kgw_core.testing.gateway import GatewayProcess

CLIENT = toolchains.STREAMS
SCENARIOS = {
    "word-count": "a repartition topic that is purged, a compacted changelog, a restart from it",
}
MATRIX = {
    "windows": "windows and sessions in changelogs that expire, late records after a restart",
    "tables": "a stream joined with a table and a global one, a join by a foreign key, a tombstone",
    "two-instances": "tasks and standbys move to a second instance and back, and nothing is counted twice",
}


def test_scenario(program: Program, gateway: GatewayProcess, scenario: str) -> None:
    """What the tables say of it."""
    scenarios.check(sys.modules[__name__], program, gateway.bootstrap, scenario, timeout=180)


def test_every_scenario_is_in_the_table(program: Program) -> None:
    """No scenario of the program is forgotten here."""
    scenarios.check_table(sys.modules[__name__], program)
