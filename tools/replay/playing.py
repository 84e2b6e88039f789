"""Scenes, played on a broker: names for what it makes up, waiting until its changes are seen, the answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tools.replay.comparing import comparable
from tools.replay.scene import PREFIX, Scene, Step
from tools.replay.talking import Talk

SECONDS = 30.0
"""How long a broker gets until a change is seen by all of it."""
ZERO_ID = "A" * 22
CHANGES = {"CreateTopics", "DeleteTopics", "CreatePartitions", "AlterConfigs", "IncrementalAlterConfigs"}
INTS = {"producerId", "sessionId"}
"""Numbers that a broker makes up, by the fields that have them."""

Versions = Mapping[str, tuple[int, int]]


class SetUpFailed(Exception):
    """A step that only sets something up has not succeeded: the scene says nothing."""


class Player:
    """Plays scenes on one broker. ``versions`` are those that are asked for; others are left out."""

    def __init__(self, talk: Talk, versions: Versions) -> None:
        self._talk = talk
        self._versions = versions
        self._barriers = 0
        self._values: dict[str, Any] = {}
        self._names: dict[Any, str] = {}

    # -- before and after

    def check_empty(self) -> None:
        """:raises SetUpFailed: there are topics or groups of the scenes' names already."""
        found = [name for name in (*self._topics(), *self._groups()) if name.startswith(PREFIX)]
        if found:
            raise SetUpFailed(f"topics or groups that begin with '{PREFIX}' are there already: {found[:5]}")

    def warm_up(self) -> None:
        """Wait until the broker coordinates groups and gives producer ids: Kafka begins when first asked."""
        request = {"keyType": 0, "coordinatorKeys": [PREFIX]}
        self._until(
            lambda: self._talk.ask(0, "FindCoordinator", 4, request)["coordinators"][0]["errorCode"] == 0
        )
        commit = {
            "groupId": PREFIX,
            "generationIdOrMemberEpoch": -1,
            "memberId": "",
            "groupInstanceId": None,
            "topics": [],
        }
        self._until(lambda: "errorCode" not in self._talk.ask(0, "OffsetCommit", 8, commit))
        init = {"transactionalId": None, "transactionTimeoutMs": 0}
        self._until(lambda: self._talk.ask(0, "InitProducerId", 1, init)["errorCode"] == 0)
        fetch = {"groups": [{"groupId": PREFIX, "topics": []}], "requireStable": False}
        self._until(lambda: self._talk.ask(0, "OffsetFetch", 8, fetch)["groups"][0]["errorCode"] == 0)

    def clean_up(self) -> None:
        """Delete what the scenes have made."""
        groups = [name for name in self._groups() if name.startswith(PREFIX)]
        if groups:
            self._talk.ask(0, "DeleteGroups", 2, {"groupsNames": groups})
        topics = [name for name in self._topics() if name.startswith(PREFIX)]
        if topics:
            self._talk.ask(0, "DeleteTopics", 4, {"topicNames": topics, "timeoutMs": 30_000})

    def _topics(self) -> list[str]:
        request = {"topics": None, "allowAutoTopicCreation": False}
        return [topic["name"] for topic in self._talk.ask(0, "Metadata", 4, request)["topics"]]

    def _groups(self) -> list[str]:
        return [group["groupId"] for group in self._talk.ask(0, "ListGroups", 0, {})["groups"]]

    # -- a scene

    def play(self, scene: Scene) -> dict[str, Any]:
        """The comparable answers by label.

        :raises SetUpFailed: a step without a label did not succeed.
        """
        steps = scene.labelled()
        answers = {}
        for label, answer in self._answers(scene).items():
            step = steps[label]
            kept = {key: each for key, each in answer.items() if key in step.fields}
            answers[label] = comparable(kept or answer, scene.named("") if step.mine else "")
        return answers

    def _answers(self, scene: Scene) -> dict[str, Any]:
        """The answers by label, with names for what the broker has made up.

        :raises SetUpFailed: a step without a label did not succeed.
        """
        self._values, self._names = {}, {}
        answers: dict[str, Any] = {}
        open_steps: dict[str, Step] = {}
        for step in self._wanted(scene.steps):
            if not step.api:
                self._settle()
                continue
            if step.receives is not None:
                asked = open_steps.pop(step.receives)
            else:
                asked = step
                self._talk.send(step.client, step.api, step.version, self._resolved(step.request))
                if not step.waits:
                    assert step.label is not None
                    open_steps[step.label] = step
                    continue
            answer = self._talk.receive(asked.client, asked.api, asked.version, asked.patience)
            if asked.label is None:
                _check_done(asked, answer)
            if asked.api in CHANGES and not asked.request.get("validateOnly"):
                self._settle()
            self._bind(asked.bind, answer)
            if asked.label is not None:
                answers[asked.label] = self._named(answer)
        self._talk.close()
        return answers

    def _wanted(self, steps: Iterable[Step]) -> Iterator[Step]:
        for step in steps:
            first, last = self._versions.get(step.api, (0, -1)) if step.api else (0, 0)
            if first <= step.version <= last:
                yield step
            elif step.label is None:
                raise SetUpFailed(f"{step.api} v{step.version} is not served")

    def _bind(self, paths: Mapping[str, str], answer: Any) -> None:
        for path, name in paths.items():
            value = answer
            for part in path.split("/"):
                value = _at(value, part)
            self._values[f"<{name}>"] = value
            self._names[value] = f"<{name}>"

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._resolved(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._resolved(each) for each in value]
        return self._values.get(value, value) if isinstance(value, str) else value

    def _named(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self._named(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [self._named(each, key) for each in value]
        if isinstance(value, str):
            if value in self._names:
                return self._names[value]
            return "<an id>" if key == "topicId" and value != ZERO_ID else value
        if key in INTS and not isinstance(value, bool):
            return self._names.get(value, value)
        return value

    # -- until it is seen

    def _settle(self) -> None:
        """Wait until the broker shows what it has acknowledged. The metadata of a Kafka comes in one order: a
        topic that is made now is seen after all that was changed before."""
        self._barriers += 1
        name = f"{PREFIX}-barrier-{self._barriers}"
        topic = {"name": name, "numPartitions": 1, "replicationFactor": 1, "assignments": [], "configs": []}
        control = -1  # a connection of its own
        self._talk.ask(
            control, "CreateTopics", 2, {"topics": [topic], "timeoutMs": 30_000, "validateOnly": False}
        )
        part = {"partitionIndex": 0, "timestamp": -1}
        request = {"replicaId": -1, "topics": [{"name": name, "partitions": [part]}]}

        def seen() -> bool:
            (found,) = self._talk.ask(control, "ListOffsets", 1, request)["topics"]
            return bool(found["partitions"][0]["errorCode"] == 0)

        self._until(seen)
        self._talk.ask(control, "DeleteTopics", 1, {"topicNames": [name], "timeoutMs": 30_000})

    @staticmethod
    def _until(done: Callable[[], object]) -> None:
        deadline = time.monotonic() + SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise SetUpFailed(f"the broker is not ready after {SECONDS:g} s")
            time.sleep(0.02)


def _at(value: Any, part: str) -> Any:
    """An entry of a list by its number or its name, or a field."""
    if not isinstance(value, list):
        return value[part]
    if part.isdigit():
        return value[int(part)]
    return next(each for each in value if part in (each.get("name"), each.get("topic")))


def _check_done(step: Step, answer: Any) -> None:
    text = json.dumps(answer)
    codes = [rest.split(",")[0].split("}")[0] for rest in text.split('"errorCode": ')[1:]]
    if "" in answer or any(code != "0" for code in codes):
        raise SetUpFailed(f"{step.api} v{step.version} {json.dumps(step.request)[:300]}: {text[:300]}")
