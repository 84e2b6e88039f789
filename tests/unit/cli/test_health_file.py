"""``--health-file``: the work that fails at present."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from broker_kit import NOW, ManualClock, turns

from kgw_core.background import Background, Failing, Health
from kgw_core.cli.health_file import HealthFile
from kgw_core.cli.status_file import StatusFile
from kgw_core.gateway import StartError

pytestmark = pytest.mark.anyio


class Told:
    """A health file and its content, as a reader follows it."""

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

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait for the thread that writes, and let what is put off come."""
        with anyio.fail_after(20):
            while not done():
                await self.clock.advance(30)
                await anyio.to_thread.run_sync(lambda: None)

    def tells(self, status: str) -> bool:
        return self.path.is_file() and self()["status"] == status


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


async def test_it_says_what_fails_and_since_when(told: Told) -> None:
    told.file.follow()
    assert (told()["status"], told()["failing"]) == ("ok", [])
    told.health.fails(Failing("loading groups", NOW, 3, "the disk is “full”"))
    await told.until(lambda: told.tells("failing"))
    assert told()["failing"] == [
        {
            "work": "loading groups",
            "since": "2023-11-14T22:13:20+00:00",
            "tries": 3,
            "cause": "the disk is “full”",
        }
    ]
    told.health.works("loading groups")
    await told.until(lambda: told.tells("ok"))
    assert told()["failing"] == []
    await told.file.stop()
    told.health.fails(Failing("loading groups", NOW, 1, "x"))
    await turns()
    assert told.tells("ok")


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
    writing = "writing the health file"
    await told.until(lambda: writing in told.health.failing and told.health.failing[writing].tries > 2)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"{writing} failed, and is tried again: --health-file" in caplog.text
    assert "Traceback" not in caplog.text
    told.path.rmdir()
    await told.until(lambda: told.tells("failing") and writing not in told.health.failing)
    await told.until(lambda: len(told()["failing"]) == 1)  # type: ignore[arg-type]
    assert [each["work"] for each in told()["failing"]] == ["retention"]  # type: ignore[attr-defined]
    await told.file.stop()
