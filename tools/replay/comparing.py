"""What differs between two answers: without what is a broker's own, by names rather than by places."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from zlib import crc32

OWN = {
    "throttleTimeMs",
    "clusterId",
    "host",
    "port",
    "clientId",
    "clientHost",
    "logDir",
    "totalBytes",
    "usableBytes",
    "lastTimestamp",
    "documentation",
}
"""Fields that are a broker's own, or the connection's."""
TEXTS = {"errorMessage", "batchIndexErrorMessage"}
"""Text for people: where Kafka has one kgw has one. What it says is not compared, and kgw may say more."""
MINE = {"name", "topic", "topicName", "groupId", "resourceName"}
KEYS = (
    "name",
    "topic",
    "topicName",
    "topicId",
    "groupId",
    "memberId",
    "resourceName",
    "partitionIndex",
    "partition",
    "index",
    "batchIndex",
    "apiKey",
    "nodeId",
    "brokerId",
    "producerId",
    "key",
)
"""What an entry of a list goes by, the first that it has."""
LONG = 500
"""Characters; of a longer text the beginning is kept, its length and its CRC."""
NOTHING, ANSWER = "(nothing)", "(an answer)"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Difference(NamedTuple):
    """At ``path`` of the answer labelled ``label``; :data:`NOTHING` where there is nothing."""

    label: str
    path: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.label}\n    {self.path}: {_shown(self.theirs)} / {_shown(self.ours)}"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 100 else text[:100] + "…"


def comparable(value: Any, mine: str = "") -> Any:
    """An answer without what is a broker's own, and without entries whose names begin other than ``mine``."""
    if isinstance(value, dict):
        return {
            key: "text" if key in TEXTS and each else comparable(each, mine)
            for key, each in value.items()
            if key not in OWN
        }
    if isinstance(value, list):
        return [comparable(each, mine) for each in value if _is_mine(each, mine)]
    if isinstance(value, str):
        return _UUID.sub(
            "<uuid>", value if len(value) <= LONG else f"{value[:50]}… {len(value)}, {crc32(value.encode())}"
        )
    return value


def _is_mine(entry: Any, mine: str) -> bool:
    if not isinstance(entry, dict):
        return True
    names = [value for key, value in entry.items() if key in MINE and isinstance(value, str)]
    return not names or any(name.startswith(mine) for name in names)


def differences(label: str, theirs: Any, ours: Any, *, ordered: bool = False) -> list[Difference]:
    """Where two comparable answers differ; ``ordered``: the order of lists counts."""
    return [Difference(label, *found) for found in _apart("", theirs, ours, ordered)]


def _apart(path: str, theirs: Any, ours: Any, ordered: bool) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        code = "" if "" in {**theirs, **ours} else "errorCode"
        if theirs.get(code) != ours.get(code):  # what else differs follows from that
            yield f"{path}.{code}".strip("."), theirs.get(code, ANSWER), ours.get(code, ANSWER)
            return
        for key in {**theirs, **ours}:
            below = f"{path}.{key}" if path else key
            yield from _apart(below, theirs.get(key, NOTHING), ours.get(key, NOTHING), ordered)
    elif isinstance(theirs, list) and isinstance(ours, list):
        yield from _lists_apart(path, theirs, ours, ordered)
    elif theirs != ours and not (path.rpartition(".")[2] in TEXTS and not theirs):
        yield path, theirs, ours


def _lists_apart(
    path: str, theirs: list[Any], ours: list[Any], ordered: bool
) -> Iterator[tuple[str, Any, Any]]:
    if not ordered:
        theirs, ours = sorted(theirs, key=_in_order), sorted(ours, key=_in_order)
    if not any(isinstance(each, dict) for each in theirs + ours):
        if theirs != ours:
            yield path, theirs, ours
        return
    left, right = dict(_keyed(theirs)), dict(_keyed(ours))
    if not left or not right:
        yield path, list(left), list(right)
        return
    if ordered and list(left) != list(right):
        yield f"{path}[]", list(left), list(right)
    for key in {**left, **right}:
        yield from _apart(f"{path}[{key}]", left.get(key, NOTHING), right.get(key, NOTHING), ordered)


def _in_order(value: Any) -> str:
    """A text that is the same for what differs in the order of lists only."""
    return json.dumps(_sorted(value), sort_keys=True)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(each) for key, each in value.items()}
    return sorted(map(_sorted, value), key=json.dumps) if isinstance(value, list) else value


def _keyed(entries: list[Any]) -> Iterator[tuple[str, Any]]:
    """Entries by what they go by; those that go by the same are numbered."""
    seen: dict[str, int] = {}
    for entry in entries:
        key = next((str(entry[name]) for name in KEYS if entry.get(name) not in (None, "")), "")
        seen[key] = seen.get(key, 0) + 1
        yield (key if seen[key] == 1 else f"{key} #{seen[key]}"), entry
