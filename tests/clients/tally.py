"""What a run showed of each client and version, for the end of its output."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import pytest
from toolchains import Client

PROPERTY = "client"
TOGETHER = "clients together in a group"


def labels(item: pytest.Item) -> Iterator[str]:
    """The clients, with their versions, that a test uses; none where it is about the tests themselves."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    if "version" in params:
        yield f"{item.module.CLIENT.name} {params['version']}"  # type: ignore[attr-defined]
    elif "writer" in params:
        yield from sorted(
            {f"{client.name} {version}" for client, version in (params["writer"], params["reader"])}
        )
    elif isinstance(client := params.get("client"), Client):
        yield f"{client.name} {client.newest}"
    elif "strategy" in params:
        yield TOGETHER


def note(item: pytest.Item) -> None:
    """Have the reports of a test tell which clients it was about."""
    item.user_properties += [(PROPERTY, label) for label in labels(item)]


def lines(reports: Iterable[tuple[str, pytest.TestReport]]) -> Iterator[str]:
    """One line a client and version: how many of its tests passed, failed, were skipped."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for outcome, report in reports:
        for name, label in report.user_properties:
            if name == PROPERTY:
                found[str(label)][outcome] += 1
    for label, counts in sorted(found.items()):
        yield f"{label:32} " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
