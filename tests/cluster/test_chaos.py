"""A short run of :mod:`chaos`; ``make chaos`` runs it for longer."""

from __future__ import annotations

from pathlib import Path

import chaos


def test_clients_lose_nothing_while_gateways_are_paused_and_restarted(tmp_path: Path) -> None:
    """The order of the pauses and restarts comes from the seed."""
    chaos.run(tmp_path, seconds=6, seed=5)
