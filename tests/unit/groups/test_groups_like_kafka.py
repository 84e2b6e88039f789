"""The APIs of groups, asked what a real Kafka was asked in the same order, answer the same.

``kafka-4.3.1-groups.jsonl`` is what Apache Kafka 4.3.1 answered (one KRaft node, its defaults, but an initial
rebalance delay of 0): a line is label, connection, API, version, request and answer as Kafka's JSON. Without
an answer the request was still open when the next was sent; the answer stands further down, under the same
label. ``<m0>`` and so on stand for member ids that a broker made. Messages for people are worded otherwise.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from broker_kit import Kit, a_client, turns
from kgw_storage_memory.store import MemoryStore

from kgw_core import wire
from kgw_core.config import Config, Groups
from kgw_core.pending import Pending
from kgw_core.wire.json import from_json, to_json

PAGE = Path(__file__).parent / "kafka-4.3.1-groups.jsonl"
LINES = [json.loads(line) for line in PAGE.read_text(encoding="utf-8").splitlines()]
OWN = {"throttleTimeMs", "errorMessage", "clientId", "clientHost", "nodeId", "host", "port"}
"""Fields that differ from one broker to the next, and who the client was."""
DIFFERENT = dict.fromkeys(
    ("list all", "list state", "list type", "list v0", "list end"),
    "Kafka lists a group that a refused member would have been the first of",
)
"""Answers that are meant to be others, and why."""


class Replay:
    """Sends the requests that Kafka got. ``answers`` by label, with Kafka's names for the members."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.clients = [a_client() for _ in range(4)]
        self.members: dict[str, str] = {}
        self.answers: dict[str, Any] = {}
        self._open: dict[str, tuple[Pending[Any], Any, int]] = {}

    async def run(self) -> None:
        for label, connection, api, version, request, theirs in LINES:
            if api is None:
                await self._finish(label, theirs)
                continue
            asked = from_json(wire.message(f"{api}Request"), self._ours(request), version)
            for waiting, (pending, _, _) in self._open.items():
                assert not pending.done, f"{waiting} is answered before {label} is asked"
            answer = self.kit.start(asked, version, client=self.clients[connection])
            if not isinstance(answer, Pending):
                answer, done = Pending(), answer
                answer.resolve(done)
            self._open[label] = answer, asked, version
            await self.kit.clock.advance(0)  # what is due at once, such as a first generation
            await turns()
            if theirs is not None:
                await self._finish(label, theirs)
        assert not self._open

    async def _finish(self, label: str, theirs: Any) -> None:
        pending, asked, version = self._open.pop(label)
        with anyio.fail_after(5):
            answer = await pending.wait()
        self._note(label, to_json(self.kit.decode(answer, asked, version), version), theirs)

    def _note(self, label: str, ours: Any, theirs: Any) -> None:
        """Remember the answer; a member id that stands where Kafka made one is that one's from here on."""
        for name in set(re.findall(r"<m\d+>", json.dumps(theirs))) - set(self.members):
            self.members[name] = ours["memberId"]
        text = json.dumps(ours)
        for name, id in self.members.items():
            text = text.replace(id, name)
        if label is not None:
            self.answers[label] = json.loads(text)

    def _ours(self, request: Any) -> Any:
        text = json.dumps(request)
        for name, id in self.members.items():
            text = text.replace(f'"{name}"', f'"{id}"')
        return json.loads(text)


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        kit = Kit(MemoryStore(), Config(groups=Groups(initial_rebalance_delay=0.0)))
        await kit.catalog.load()
        replay = Replay(kit)
        await replay.run()
        await kit.close()
        return replay.answers

    return anyio.run(ask)


def compared(value: Any) -> Any:
    """``value`` without the fields that differ from broker to broker. No list of these APIs has an order."""
    if isinstance(value, dict):
        return {name: compared(each) for name, each in value.items() if name not in OWN}
    if isinstance(value, list):
        return sorted(map(compared, value), key=lambda each: json.dumps(each, sort_keys=True))
    return value


ANSWERED = [line for line in LINES if line[0] and line[5] is not None]


@pytest.mark.parametrize("line", ANSWERED, ids=lambda line: line[0])
def test_the_answer_is_kafkas(answers: dict[str, Any], line: list[Any]) -> None:
    label, theirs = line[0], line[5]
    if label in DIFFERENT:
        assert compared(answers[label]) != compared(theirs), "it is the same by now"
    else:
        assert compared(answers[label]) == compared(theirs)


def test_every_difference_was_asked_for() -> None:
    assert set(DIFFERENT) <= {line[0] for line in ANSWERED}
