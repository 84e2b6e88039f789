"""``--health-file``: a file with the work of a broker that fails now."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import anyio.to_thread

from kgw_core.background import Background, Health
from kgw_core.cli.status_file import StatusFile
from kgw_core.errors import KafkaStorageError
from kgw_core.gateway import StartError


class HealthFile:
    """Rewrites the file whenever the health changes. ``docs/reference/cli.md`` describes its content."""

    def __init__(self, file: StatusFile, health: Health, background: Background) -> None:
        self._file = file
        self._health = health
        self._writing = background.chore("writing the health file", self._write)

    def follow(self) -> None:
        """Write the file now and at each change. :raises StartError: it cannot be written."""
        self._file.write(text_of(self._health))
        self._health.changed.append(self._writing.due)

    async def _write(self) -> None:
        try:
            await anyio.to_thread.run_sync(self._file.write, text_of(self._health))
        except StartError as error:
            raise KafkaStorageError(str(error)) from None

    async def stop(self) -> None:
        """Write the file no more."""
        await self._writing.stop()


def text_of(health: Health) -> str:
    """The file's text."""
    failing = [
        {
            "work": each.work,
            "since": datetime.fromtimestamp(each.since_ms / 1000, UTC).isoformat(timespec="seconds"),
            "tries": each.tries,
            "cause": each.cause,
        }
        for each in health.failing.values()
    ]
    content = {"status": "failing" if failing else "ok", "process": os.getpid(), "failing": failing}
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
