"""Odd but legal requests are answered as Apache Kafka 4.4.0 answered them, but where it is meant otherwise.

``kafka-4.4.0.jsonl`` is written by ``python -m tools.replay --record``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import pytest

from kgw_core.config import Groups, Storage
from kgw_core.testing.gateway import free_config, gateway_thread
from tools.replay.comparing import Difference, differences
from tools.replay.meant import reason, unused
from tools.replay.playing import Player
from tools.replay.recording import Recording, digest, load
from tools.replay.scene import Scene, written
from tools.replay.talking import Talk

SCENES = written()


@cache
def recorded() -> Recording:
    return load(Path(__file__).parent / "kafka-4.4.0.jsonl")


Found = dict[str, list[Difference]]
"""The differences by the name of the scene."""


def _play(player: Player, scene: Scene) -> list[Difference]:
    answers = player.play(scene)
    assert answers
    return [
        difference
        for label, step in scene.labelled().items()
        if label in answers
        for difference in differences(label, recorded().answers[label], answers[label], ordered=step.ordered)
    ]


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """All scenes, played on one gateway in the order in which Kafka played them.

    Scenes share the broker (one commits to the group with the empty name, which others look at), so a test
    that runs alone, or in another order, must not change what a scene finds.
    """
    config = msgspec.structs.replace(free_config(), groups=Groups(initial_rebalance_delay=0.0))
    if request.param == "sqlite":
        path = str(tmp_path_factory.mktemp("replay") / "kgw.db")
        config = msgspec.structs.replace(config, storage=Storage(use="sqlite", settings={"path": path}))
    with gateway_thread(config) as gateway, Talk(gateway.address) as talk:
        player = Player(talk, recorded().versions)
        player.warm_up()
        return {scene.name: _play(player, scene) for scene in SCENES}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_answers_are_kafkas(played: Found, scene: Scene) -> None:
    faults = [difference for difference in played[scene.name] if reason(difference) is None]
    assert not faults, "\n".join(map(str, faults))


def test_what_is_no_longer_different_is_no_longer_meant(played: Found) -> None:
    assert unused([difference for found in played.values() for difference in found]) == []


def test_the_recording_is_of_these_requests() -> None:
    asked = {
        label: digest(step.request)
        for scene in SCENES
        for label, step in scene.labelled().items()
        if _served(step.api, step.version)
    }
    assert asked == recorded().requests
    assert len(asked) > 2000


def _served(api: str, version: int) -> bool:
    first, last = recorded().versions.get(api, (0, -1))
    return first <= version <= last
