"""``--health-file``: what fails at present."""

from __future__ import annotations

import json
import os
from pathlib import Path

import anyio
import pytest
from broker_kit import NOW, ManualClock, turns

from kgw_core.background import Background, Failing, Health
from kgw_core.cli.health_file import HealthFile
from kgw_core.cli.status_file import StatusFile
from kgw_core.gateway import StartError

pytestmark = pytest.mark.anyio


class Told:
    """A health file that is followed, and what is in it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "health"
        self.health = Health()
        self.clock = ManualClock()
        background = Background(self.clock, health=self.health)
        self.file = HealthFile(StatusFile("--health-file", self.path), self.health, background)

    def __call__(self) -> dict[str, object]:
        told: dict[str, object] = json.loads(self.path.read_text(encoding="utf-8"))
        assert told["process"] == os.getpid()
        return told

    async def settled(self) -> None:
        """Wait for the thread that writes."""
        for _ in range(1_000):
            await turns(5)
            if self.file._writing._ended is None:
                return
            await anyio.sleep(0.001)
        raise AssertionError("it is not written")


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


async def test_it_says_what_fails_and_since_when(told: Told) -> None:
    told.file.follow()
    assert (told()["status"], told()["failing"]) == ("ok", [])
    told.health.fails(Failing("loading groups", NOW, 3, "the disk is “full”"))
    await told.settled()
    assert told()["status"] == "failing"
    assert told()["failing"] == [
        {
            "work": "loading groups",
            "since": "2023-11-14T22:13:20+00:00",
            "tries": 3,
            "cause": "the disk is “full”",
        }
    ]
    told.health.works("loading groups")
    await told.settled()
    assert (told()["status"], told()["failing"]) == ("ok", [])
    await told.file.stop()
    told.health.fails(Failing("loading groups", NOW, 1, "x"))
    await told.settled()
    assert told()["status"] == "ok"


async def test_one_that_cannot_be_written_keeps_a_gateway_from_starting(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"--health-file .* cannot be written: No such file or directory"):
        Told(tmp_path / "nowhere").file.follow()


async def test_one_that_cannot_be_written_later_is_told_once_and_written_when_it_can(
    told: Told, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told.file.follow()
    told.path.unlink()
    told.path.mkdir()
    told.health.fails(Failing("retention", NOW, 1, "x"))
    for _ in range(50):
        await turns()
        await anyio.sleep(0.002)
        await told.clock.advance(30)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "writing the health file failed, and is tried again: --health-file" in caplog.text
    assert "Traceback" not in caplog.text
    told.path.rmdir()
    for _ in range(1_000):
        await told.clock.advance(30)
        await anyio.sleep(0.002)
        if told.path.exists() and len(told()["failing"]) == 1:  # type: ignore[arg-type]
            break
    assert [each["work"] for each in told()["failing"]] == ["retention"]  # type: ignore[attr-defined]
    await told.file.stop()
