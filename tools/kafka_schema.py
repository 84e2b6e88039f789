"""Read the message definitions that Kafka's clients jar carries.

Source: ``common/message/*.json`` in ``org.apache.kafka:kafka-clients`` on Maven Central. Only facts are taken
(names, types, versions, defaults); the ``about`` texts and the comments are dropped here and go nowhere.
"""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OPEN_END = 1 << 15
"""Where an open range ("3+") ends before it is cut to the versions that a message has."""


@dataclass
class FieldDef:
    """One field of one struct, each set of versions cut to those that the message has."""

    name: str
    type: str
    versions: set[int]
    nullable: set[int]
    tagged: set[int]
    tag: int | None
    default: Any
    ignorable: bool
    entity_type: str | None
    map_key: bool
    never_flexible: bool

    @property
    def struct(self) -> str | None:
        """The struct that this field holds, or holds an array of."""
        base = self.type.removeprefix("[]")
        return base if base[0].isupper() else None


@dataclass
class MessageDef:
    """One message: its facts and its structs. The struct with the message's own name is the top."""

    name: str
    kind: str  # request, response, header or data
    api_key: int | None
    listeners: tuple[str, ...]
    versions: set[int]
    flexible: set[int]
    latest_unstable: bool
    structs: dict[str, list[FieldDef]] = field(default_factory=dict)


def parse_versions(text: str | None, within: set[int]) -> set[int]:
    """The versions that Kafka's notation names ("3+", "0-2", "7", "none"), cut to `within`."""
    if not text or text == "none":
        return set()
    if text.endswith("+"):
        low, high = int(text[:-1]), OPEN_END
    elif "-" in text:
        low, high = (int(part) for part in text.split("-"))
    else:
        low = high = int(text)
    return {version for version in within if low <= version <= high}


def all_versions(text: str) -> set[int]:
    """The versions of a ``validVersions``, which is never open-ended."""
    return parse_versions(text, set(range(256)))


def fetch_jar(version: str, folder: Path) -> Path:
    """Have Maven put kafka-clients `version` into `folder`; returns the jar's path."""
    artifact = f"org.apache.kafka:kafka-clients:{version}"
    subprocess.run(
        ["mvn", "-q", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"], check=True
    )
    return folder / f"kafka-clients-{version}.jar"


def load_jar(path: Path) -> dict[str, MessageDef]:
    """Every message of the jar at `path`, by name. A message with no version left is kept, empty."""
    messages: dict[str, MessageDef] = {}
    with zipfile.ZipFile(path) as jar:
        for entry in sorted(jar.namelist()):
            if entry.startswith("common/message/") and entry.endswith(".json"):
                text = re.sub(r"^\s*//.*$", "", jar.read(entry).decode(), flags=re.MULTILINE)
                message = _message(json.loads(text))
                messages[message.name] = message
    return messages


def _message(raw: dict[str, Any]) -> MessageDef:
    versions = all_versions(raw["validVersions"])
    message = MessageDef(
        name=raw["name"],
        kind=raw["type"],
        api_key=raw.get("apiKey"),
        listeners=tuple(raw.get("listeners", ())),
        versions=versions,
        flexible=parse_versions(raw.get("flexibleVersions"), versions),
        latest_unstable=bool(raw.get("latestVersionUnstable", False)),
    )
    _struct(message, raw["name"], raw.get("fields", []))
    for common in raw.get("commonStructs", []):
        _struct(message, common["name"], common["fields"])
    return message


def _struct(message: MessageDef, name: str, raw_fields: list[dict[str, Any]]) -> None:
    fields = message.structs[name] = []
    for raw in raw_fields:
        fields.append(_field(message, raw))
        if raw.get("fields"):
            _struct(message, raw["type"].removeprefix("[]"), raw["fields"])


def _field(message: MessageDef, raw: dict[str, Any]) -> FieldDef:
    flexible = raw.get("flexibleVersions")
    if flexible not in (None, "none"):
        raise ValueError(f"{message.name}.{raw['name']}: flexibleVersions {flexible!r} is not known here")
    versions = parse_versions(raw["versions"], message.versions)
    return FieldDef(
        name=raw["name"],
        type=raw["type"],
        versions=versions,
        nullable=parse_versions(raw.get("nullableVersions"), versions),
        tagged=parse_versions(raw.get("taggedVersions"), versions),
        tag=None if raw.get("tag") is None else int(raw["tag"]),
        default=_default(raw["type"], raw.get("default")),
        ignorable=bool(raw.get("ignorable", False)),
        entity_type=raw.get("entityType"),
        map_key=bool(raw.get("mapKey", False)),
        never_flexible=flexible == "none",
    )


def _default(kind: str, raw: Any) -> Any:
    """The default as a Python value: None for null, () for an empty array, ... for a new struct."""
    if raw == "null":
        return None
    if kind.startswith("[]"):
        if raw not in (None, ""):
            raise ValueError(f"an array defaults to {raw!r}")
        return ()
    if kind == "bool":
        return raw if isinstance(raw, bool) else raw == "true"
    if kind.startswith(("int", "uint")):
        return raw if isinstance(raw, int) else int(raw or "0", 0)
    if kind == "float64":
        return float(raw or 0.0)
    if kind == "string":
        return raw or ""
    if kind == "bytes":
        return b""
    if kind == "uuid":
        return b"\0" * 16
    if kind == "records":
        return None
    return ...
