"""Nisshi, once Tansu (Rust, crates.io), in memory. Half an hour to build, so only when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.base import Peer, call, need

VERSION = "0.8.1"


class Nisshi(Peer):
    name = "nisshi"
    default = False

    def make(self) -> str:
        need("cargo")
        features = ("--no-default-features", "--features", "dynostore")
        call(
            ["cargo", "install", "--locked", "--root", str(self.place), *features, f"nisshi@{VERSION}"],
            self.place,
            CARGO_TARGET_DIR=str(self.place / "target"),
        )
        return VERSION

    def command(self, port: int, folder: Path) -> Sequence[str]:
        address = f"tcp://127.0.0.1:{port}"
        where = ("--listener-url", address, "--advertised-listener-url", address)
        quick = ("--group-initial-rebalance-delay", "0s")
        return [
            *(str(self.place / "bin" / "nisshi"), "broker", "--storage-engine", "memory://nisshi/"),
            *where,
            *quick,
        ]
