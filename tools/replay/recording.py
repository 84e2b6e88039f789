"""What a Kafka answered, in a file of JSON lines: versions that answer the same share one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from tools.replay.playing import Versions


class Recording(NamedTuple):
    """``versions`` are those of the Kafka's APIs; ``answers`` are comparable ones, by label; ``requests`` are
    digests of what was asked, by label."""

    versions: Versions
    answers: Mapping[str, Any]
    requests: Mapping[str, str]


def digest(request: Any) -> str:
    """What shows that a request is another one than before."""
    return sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:8]


def save(path: Path, recording: Recording) -> None:
    """Write a recording: a line has the label without its version, the versions, digests of the requests in
    these, and the answer to all of them."""
    groups: list[tuple[str, list[int], list[str], Any]] = []
    for label, answer in recording.answers.items():
        name, _, version = label.rpartition(" v")
        last = groups[-1] if groups else None
        if last is None or last[0] != name or last[3] != answer:
            last = (name, [], [], answer)
            groups.append(last)
        last[1].append(int(version))
        last[2].append(recording.requests[label])
    lines = [json.dumps(recording.versions)]
    lines += [json.dumps(group, separators=(",", ":"), ensure_ascii=False) for group in groups]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def load(path: Path) -> Recording:
    """Read a recording."""
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    answers: dict[str, Any] = {}
    requests: dict[str, str] = {}
    for name, versions, digests, answer in map(json.loads, lines):
        for version, asked in zip(versions, digests, strict=True):
            answers[f"{name} v{version}"] = answer
            requests[f"{name} v{version}"] = asked
    served = {api: (low, high) for api, (low, high) in json.loads(first).items()}
    return Recording(served, answers, requests)
