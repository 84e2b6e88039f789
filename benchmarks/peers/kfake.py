"""kfake: franz-go's in-memory Kafka (Go). The program around it stands in ``kfake_program``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.base import Peer, call, need

SOURCE = Path(__file__).with_name("kfake_program")


class Kfake(Peer):
    name = "kfake"

    def make(self) -> str:
        need("go")
        source = self.place / "source"
        shutil.copytree(SOURCE, source)
        call(["go", "build", "-trimpath", "-buildvcs=false", "-o", str(self.place / "kfake"), "."], source)
        go = call(["go", "env", "GOVERSION"], source).strip()
        found = re.search(r"pkg/kfake v\S*?(\d{8})\d{6}-\w+", (source / "go.mod").read_text())
        return f"of {found[1] if found else 'unknown date'}, {go}"

    def command(self, port: int, folder: Path) -> Sequence[str]:
        return [str(self.place / "kfake"), str(port)]
