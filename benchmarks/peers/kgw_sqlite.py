"""This project on SQLite: ``kgw serve`` with each of the two promises, in kgw's own environment.

``python -m benchmarks --peers kgw-sqlite kafka-fsync kgw-sqlite-normal kafka`` is durable storage beside
Kafka's, with an fsync for what is acknowledged on both sides and on neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.base import BUILD
from benchmarks.peers.kgw import Kgw

CONFIG = """\
[[listeners]]
port = {port}

[topics]
auto_create = true

[groups]
initial_rebalance_delay = 0

[storage]
use = "sqlite"
path = "{folder}/kgw.db"
synchronous = "{synchronous}"
"""


class KgwSqlite(Kgw):
    name = "kgw-sqlite"
    storage = "SQLite, fsync"
    default = False
    by_name_only = True
    synchronous = "full"

    @property
    def place(self) -> Path:
        return BUILD / Kgw.name

    def prepare(self, port: int, folder: Path) -> None:
        config = CONFIG.format(port=port, folder=folder, synchronous=self.synchronous)
        (folder / "kgw.toml").write_text(config)

    def command(self, port: int, folder: Path) -> Sequence[str]:
        return [str(self.python.with_name("kgw")), "serve", "--config", str(folder / "kgw.toml")]


class KgwSqliteNormal(KgwSqlite):
    name = "kgw-sqlite-normal"
    storage = "SQLite, no fsync a commit"
    synchronous = "normal"
