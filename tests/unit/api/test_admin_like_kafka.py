"""The admin APIs, asked what a real Kafka was asked, answer the same.

``kafka-4.4.0-*.jsonl`` have what Apache Kafka 4.4.0 answered (one KRaft node, its defaults), each file a new
one: a line is label, API, version, request and answer as Kafka's JSON. A line without a label sets something
up. ``LOG_DIR`` stands for the broker's log dir. The one of broker configs was asked with the feature
``eligible.leader.replicas.version`` at 0. Messages for people are worded otherwise, and what cannot be the
same is left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from broker_kit import a_kit

from kgw_core import wire
from kgw_core.wire.json import from_json, to_json

SCENES = [
    [json.loads(line) for line in (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()]
    for name in ("kafka-4.4.0-admin.jsonl", "kafka-4.4.0-cluster.jsonl", "kafka-4.4.0-broker-configs.jsonl")
]
LINES = [line for scene in SCENES for line in scene]
LOG_DIR = "/kgw/memory"
OWN = {"throttleTimeMs", "errorMessage", "topicId", "logDir", "totalBytes", "usableBytes", "documentation"}
OWN |= {"lastTimestamp", "readOnly", "leaderEpoch", "highWatermark", "logEndOffset", "lastFetchTimestamp"}
OWN |= {"lastCaughtUpTimestamp", "listeners"}
"""Fields that differ from broker to broker, and read-only configs, of which there are many here."""

TOLD_OTHERWISE = {"min.insync.replicas"}
"""A Kafka with eligible leader replicas keeps it as a dynamic config of the cluster."""

NOT_HERE = "cannot be changed here"
DIFFERENT = {
    "AlterConfigs v2: broker unknown": (42, NOT_HERE),
    "AlterConfigs v2: broker dynamic": (42, NOT_HERE),
    "AlterConfigs v2: broker default": (42, NOT_HERE),
    "AlterConfigs v2: client metrics": (42, NOT_HERE),
    "AlterConfigs v2: group": (42, NOT_HERE),
    "IncrementalAlterConfigs v1: broker unknown": (42, NOT_HERE),
    "IncrementalAlterConfigs v1: broker dynamic": (42, NOT_HERE),
    "IncrementalAlterConfigs v1: client metrics": (42, NOT_HERE),
    "IncrementalAlterConfigs v1: group": (42, NOT_HERE),
    "IncrementalAlterConfigs v1: op 9": (42, "Kafka runs into a null pointer"),
    "IncrementalAlterConfigs v1: op -1": (42, "Kafka runs into a null pointer"),
    "DescribeTopicPartitions v0: bad": (17, "Kafka runs into an exception that it did not expect"),
    "DescribeConfigs v4: broker default": (0, "Kafka's eligible leader replicas have set something"),
    "DescribeConfigs v4: logger root": (0, "there are no loggers"),
    "DescribeLogDirs v1: one": (0, "Kafka keeps the file of a log that was emptied"),
    "DescribeLogDirs v4: one": (0, "Kafka keeps the file of a log that was emptied"),
    "DescribeLogDirs v5: one": (0, "Kafka keeps the file of a log that was emptied"),
}
"""Answers that are meant to be others: (the error code here, why)."""
for _where in ("all", "this"):
    DIFFERENT |= {
        f"IncrementalAlterConfigs v1: {_where}, {_what}": (42, _why)
        for _what, _why in {
            "unknown": "Kafka takes any name, without an effect",
            "topic's name": "Kafka takes any name, without an effect",
            "without effect here": NOT_HERE,
            "segment size": NOT_HERE,
            "throttle": NOT_HERE,
            "per ip overrides": NOT_HERE,
            "below forever": "to Kafka every time below 0 is for ever",
            "backoff 0": "without a pause compaction would never rest",
            "lags that contradict": "Kafka takes them, and then creates no topic any more",
        }.items()
    }


def with_log_dir(value: Any, before: str, after: str) -> Any:
    """``value`` with the one name of the log dir in place of the other."""
    return json.loads(json.dumps(value).replace(before, after))


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        found = {}
        for scene in SCENES:
            kit = await a_kit()
            for label, api, version, request, _ in scene:
                asked = from_json(
                    wire.message(f"{api}Request"), with_log_dir(request, "LOG_DIR", LOG_DIR), version
                )
                answer = to_json(await kit.ask(asked, version), version)
                assert label or '"errorCode": 0' in json.dumps(answer)
                found[label] = with_log_dir(answer, LOG_DIR, "LOG_DIR")
            await kit.close()
        return found

    return anyio.run(ask)


def compared(value: Any, key: str = "") -> Any:
    """``value`` without the fields that differ from broker to broker, in a fixed order."""
    if isinstance(value, dict):
        kept = {name: compared(each, name) for name, each in value.items() if name not in OWN}
        if value.get("name") in TOLD_OTHERWISE and "configSource" in value:
            kept = {name: each for name, each in kept.items() if name not in ("synonyms", "configSource")}
        return kept
    if isinstance(value, list):
        items = [compared(each) for each in value]
        ordered = key in ("topics", "brokers", "replicaNodes", "isrNodes", "synonyms")
        return items if ordered else sorted(items, key=lambda each: json.dumps(each, sort_keys=True))
    return value


def first_code(value: Any) -> int:
    """The error code of the first item."""
    codes = [part.partition(",")[0] for part in json.dumps(value).split('"errorCode": ')[1:]]
    return next((int(code.rstrip("}] ")) for code in codes if code.rstrip("}] ") != "0"), 0)


@pytest.mark.parametrize("line", [line for line in LINES if line[0]], ids=lambda line: line[0])
def test_the_answer_is_kafkas(answers: dict[str, Any], line: list[Any]) -> None:
    label, _, _, _, theirs = line
    ours = answers[label]
    if label in DIFFERENT:
        code, _ = DIFFERENT[label]
        assert compared(ours) != compared(theirs), "it is the same by now"
        assert first_code(ours) == code
    else:
        assert compared(ours) == compared(theirs)


def test_every_difference_was_asked_for() -> None:
    assert set(DIFFERENT) <= {line[0] for line in LINES}
