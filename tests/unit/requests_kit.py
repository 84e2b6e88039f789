"""Requests of every served API in every version: as Kafka's own clients write them, and filled by rule."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from kgw_core import wire
from kgw_core.api import registry
from kgw_core.api.registry import Api
from kgw_core.wire.messages.produce import ProduceRequest
from kgw_core.wire.plan import has_version, struct_class

VECTORS = Path(__file__).parent / "wire" / "vectors"
NAMES = [api.name for api in registry.load().values()]


class Row(NamedTuple):
    api: Api
    version: int
    body: bytes


@cache
def rows() -> dict[str, list[Row]]:
    """The requests of Kafka's clients for each served API, by its name."""
    served = {f"{api.name}Request": api for api in registry.load().values()}
    found: dict[str, list[Row]] = {name.removesuffix("Request"): [] for name in served}
    for release in ("4.4.0", "3.9.1"):
        with gzip.open(VECTORS / f"kafka-{release}.tsv.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                name, text, data, _ = line.split("\t", 3)
                api, version = served.get(name), int(text)
                if api is not None and api.versions[0] <= version <= api.versions[1]:
                    found[api.name].append(Row(api, version, bytes.fromhex(data)))
    return found


def filled(cls: type[Any], version: int) -> Any:
    """A message or a part of one with one element in each of its lists."""
    made = cls()
    for attr, field in zip(cls.__slots__, cls.SCHEMA, strict=True):
        if has_version(field.versions, version) and field.type.startswith("[]"):
            part = struct_class(cls, field.type)
            simple = {"[]string": "x", "[]uuid": b"\7" * 16}.get(field.type, 0)
            setattr(made, attr, [simple if part is None else filled(part, version)])
    if cls is ProduceRequest:
        made.acks = -1
    return made


def about_a_topic(message: Any, topic_id: bytes, group: str = "g") -> None:
    """Let what is asked be about the topic "x", and a group."""
    for attr in message.__slots__:
        value = getattr(message, attr)
        if attr in ("name", "topic", "topic_name", "resource_name") and value == "":
            setattr(message, attr, "x")
        elif attr == "group_id" and value == "" and not getattr(message, "groups", ()):
            message.group_id = group
        elif attr == "protocol_type" and value == "":
            message.protocol_type = "consumer"
        elif attr == "session_timeout_ms":
            message.session_timeout_ms = message.rebalance_timeout_ms = 10_000
        elif attr == "topic_id":
            setattr(message, attr, topic_id)
        elif attr == "resource_type":
            setattr(message, attr, 2)
        elif isinstance(value, list):
            for each in value:
                if hasattr(each, "__slots__"):
                    about_a_topic(each, topic_id, group)


def requests(name: str) -> list[Row]:
    """Requests of every version of an API: what Kafka's clients write, and one that has no empty list."""
    api = next(api for api in registry.load().values() if api.name == name)
    cls = wire.message(wire.index.APIS[api.key].request)
    return rows()[name] + [
        Row(api, version, wire.encode(filled(cls, version), version))
        for version in range(api.versions[0], api.versions[1] + 1)
    ]
