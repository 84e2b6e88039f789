"""Old releases of Apache Kafka's Java client, down to the last one that knows nothing of record batches."""

from __future__ import annotations

import sys

import scenarios
import toolchains
from toolchains import Program

from kgw_core.testing.gateway import GatewayProcess

CLIENT = toolchains.JAVA_OLD
SCENARIOS = {
    "acks": "acks 0, 1 and all write everything, in order",
    "codecs": "every codec, small records and 300 kB of noise, read from the middle too",
    "seek": "reading from any offset, beginning and end, nulls, small fetches",
    "times": "offsetsForTimes",
    "waits": "a waiting consumer gets a record as soon as it is written",
    "group": "subscribe, commit, go on there",
}
SINCE = {
    "admin": ("0.11", "topics created, listed, described, deleted; configs; the cluster"),
}


def test_scenario(program: Program, gateway: GatewayProcess, scenario: str) -> None:
    """What the tables say of it."""
    scenarios.check(sys.modules[__name__], program, gateway.bootstrap, scenario)


def test_every_scenario_is_in_the_table(program: Program) -> None:
    """No scenario of the program is forgotten here."""
    scenarios.check_table(sys.modules[__name__], program)
