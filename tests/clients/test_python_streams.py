"""Stream processors in Python, each in an environment of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import toolchains
from toolchains import Client, Program

from kgw_core.testing.gateway import GatewayProcess

pytestmark = pytest.mark.matrix


@pytest.mark.parametrize("client", [toolchains.QUIXSTREAMS, toolchains.FAUST], ids=lambda client: client.name)
def test_counts_survive_a_restart(
    built: Callable[[Client, str], Program], client: Client, gateway: GatewayProcess
) -> None:
    """Counts by key over a repartition topic; a second run restores them from the changelog."""
    program = built(client, client.newest)
    outcome = program.run(gateway.bootstrap, "counts", timeout=120)
    assert outcome.status == 0, outcome.explain()
    assert [line["check"] for line in outcome.lines] == ["first run", "after a restart", "changelogs"]
    assert all(line["ok"] is True for line in outcome.lines), outcome.explain()
