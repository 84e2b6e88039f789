"""Valid requests of every API and version that is served: what the mutators begin with.

From the wire's golden vectors, with names of topics that there are put in here and there, so that more than
the first check of a handler is reached.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kgw_core import wire
from kgw_core.api import registry
from kgw_core.records import build_batch
from kgw_core.wire import index
from kgw_core.wire.base import Message
from kgw_core.wire.messages.request_header import RequestHeader

VECTORS = Path(__file__).parents[1] / "unit" / "wire" / "vectors"
TOPICS = ("fuzz", "squeezed", "compacted", "no-such-topic", "line\n00:00:00 ERROR that a client forged")
_NAMES = ("name", "topic", "topic_name", "resource_name", "group_id", "group")
_INDEXES = ("partition_index", "partition", "index")
_TIMES = ("max_wait_ms", "timeout_ms", "rebalance_timeout_ms")


@dataclass(frozen=True)
class Seed:
    """One request as bytes: header, then body."""

    key: int
    version: int
    head: bytes
    body: bytes

    @property
    def name(self) -> str:
        return f"{index.APIS[self.key].name} v{self.version}"

    @property
    def flexible(self) -> bool:
        return wire.request_header_version(self.key, self.version) == 2


@cache
def vectors() -> dict[tuple[str, int], list[bytes]]:
    """Golden bytes by message and version."""
    found: dict[tuple[str, int], list[bytes]] = {}
    for release in ("4.4.0", "3.9.1"):
        with gzip.open(VECTORS / f"kafka-{release}.tsv.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                name, version, data, _ = line.split("\t", 3)
                found.setdefault((name, int(version)), []).append(bytes.fromhex(data))
    return found


@cache
def served() -> Sequence[tuple[int, int]]:
    """Every (API key, version) that is served."""
    return [
        (key, version)
        for key, api in registry.load().items()
        for version in range(api.versions[0], api.versions[1] + 1)
    ]


def header(key: int, version: int, correlation: int = 7, client_id: str | None = "fuzz") -> bytes:
    """A request header as the API and version have it."""
    return wire.encode(
        RequestHeader(key, version, correlation, client_id), wire.request_header_version(key, version)
    )


def seed(key: int, version: int, rng: random.Random) -> Seed:
    """A valid request, as bytes."""
    cls = wire.message(index.APIS[key].request)
    rows = vectors()[(cls.NAME, version)]
    message = wire.decode(cls, version, rng.choice(rows))
    _make_real(message, rng)
    return Seed(key, version, header(key, version), wire.encode(message, version))


def _make_real(message: Message, rng: random.Random) -> None:
    for name in _slots(message):
        value: Any = getattr(message, name)
        if isinstance(value, list):
            for item in value:
                if isinstance(item, Message):
                    _make_real(item, rng)
        elif isinstance(value, Message):
            _make_real(value, rng)
        elif isinstance(value, str) and value and name in _NAMES and rng.random() < 0.7:
            setattr(message, name, rng.choice(TOPICS))
        elif isinstance(value, int) and name in _INDEXES and rng.random() < 0.7:
            setattr(message, name, rng.randrange(3))
        elif isinstance(value, int) and name in _TIMES:
            setattr(message, name, rng.randrange(-1, 30))  # nobody has the time to wait for an answer
        elif name == "records":
            batch = bytes(build_batch([(b"k", b"v" * rng.randrange(50))]))
            setattr(message, name, batch if rng.random() < 0.8 else value)


def _slots(message: Message) -> list[str]:
    return [slot for cls in type(message).__mro__ for slot in getattr(cls, "__slots__", ())]


def check_answer(seed: Seed, answer: bytes) -> None:
    """The answer is one of that API and version, for correlation id 7. :raises MalformedMessage:"""
    api = index.APIS[seed.key]
    version = seed.version
    try:
        _check(api.response, seed.key, version, answer)
    except wire.MalformedMessage:
        if seed.key != 18:
            raise
        _check(api.response, seed.key, 0, answer)  # ApiVersions of a version that is not known (KIP-511)


def _check(response: str, key: int, version: int, answer: bytes) -> None:
    flexible = wire.response_header_version(key, version)
    if answer[:4] != b"\0\0\0\7":
        raise wire.MalformedMessage(f"correlation id {answer[:4].hex()}")
    wire.decode(wire.message(response), version, answer[4 + flexible :])
