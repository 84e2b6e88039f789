"""Kafka's own command line tools, as ``kafka-configs.sh`` and the others start them."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import toolchains
from toolchains import Outcome, Program

from kgw_core.testing.gateway import GatewayProcess

CLIENT = toolchains.KAFKA_TOOLS

Tool = Callable[..., Outcome]
"""Runs the tool of that class with arguments."""

NOT_HERE = "the gateway takes them from its file and environment, or they have no effect here"


@pytest.fixture
def tool(program: Program, gateway: GatewayProcess) -> Tool:
    def run(name: str, *arguments: str) -> Outcome:
        return program.run(
            f"org.apache.kafka.tools.{name}", "--bootstrap-server", gateway.bootstrap, *arguments
        )

    return run


@pytest.fixture
def topic(tool: Tool) -> Iterator[str]:
    name = f"tools-{secrets.token_hex(4)}"
    lines(tool("TopicCommand", "--create", "--topic", name, "--partitions", "2"))
    yield name
    lines(tool("TopicCommand", "--delete", "--topic", name))


def lines(outcome: Outcome) -> list[str]:
    """What a tool that succeeded has printed, without the space around."""
    assert outcome.status == 0, outcome.explain()
    return [line.strip() for line in outcome.stdout.splitlines() if line.strip()]


def refused(outcome: Outcome) -> str:
    """What a tool that failed has printed."""
    assert outcome.status != 0, outcome.explain()
    return outcome.stdout + outcome.stderr


def test_configs_of_brokers(tool: Tool, topic: str) -> None:
    """kafka-configs sets them for all and for one, tells them with their sources, and deletes them."""
    name = "log.retention.ms"
    every = ("--entity-type", "brokers", "--entity-default")
    one = ("--entity-type", "brokers", "--entity-name", "1")
    of_topic = ("--describe", "--entity-type", "topics", "--entity-name", topic, "--all")
    try:
        set_it = tool(
            "ConfigCommand", "--alter", *every, "--add-config", f"{name}=70000,compression.type=gzip"
        )
        assert lines(set_it) == ["Completed updating default config for brokers in the cluster."]
        assert lines(tool("ConfigCommand", "--describe", *every)) == [
            "Default configs for brokers in the cluster are:",
            "compression.type=gzip sensitive=false "
            "synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:compression.type=gzip}",
            f"{name}=70000 sensitive=false synonyms={{DYNAMIC_DEFAULT_BROKER_CONFIG:{name}=70000}}",
        ]
        lines(
            tool(
                "ConfigCommand",
                "--alter",
                *one,
                "--add-config",
                f"{name}=60000,log.cleanup.policy=[compact,delete]",
            )
        )
        synonyms = (
            f"{{DYNAMIC_BROKER_CONFIG:{name}=60000, DYNAMIC_DEFAULT_BROKER_CONFIG:{name}=70000, "
            "DEFAULT_CONFIG:log.retention.hours=168}"
        )
        assert f"{name}=60000 sensitive=false synonyms={synonyms}" in lines(
            tool("ConfigCommand", "--describe", *one)
        )
        told = lines(tool("ConfigCommand", *of_topic))
        assert f"retention.ms=60000 sensitive=false synonyms={synonyms}" in told
        assert "cleanup.policy=compact,delete sensitive=false" in "\n".join(told)
    finally:
        lines(tool("ConfigCommand", "--alter", *one, "--delete-config", f"{name},log.cleanup.policy"))
        lines(tool("ConfigCommand", "--alter", *every, "--delete-config", f"{name},compression.type"))
    assert "retention.ms=604800000 sensitive=false synonyms={}" in lines(tool("ConfigCommand", *of_topic))
    assert len(lines(tool("ConfigCommand", "--describe", *every))) == 1


def test_configs_of_brokers_that_do_not_change(tool: Tool) -> None:
    """kafka-configs says which, and why."""
    one = ("--alter", "--entity-type", "brokers", "--entity-name", "1")
    said = refused(tool("ConfigCommand", *one, "--add-config", "num.io.threads=4,log.retention.ms=60000"))
    assert f"Cannot update these configs dynamically: [num.io.threads]: {NOT_HERE}" in said
    said = refused(tool("ConfigCommand", *one, "--add-config", "log.retention.ms=soon"))
    assert 'Invalid value "soon" for log.retention.ms: must be a whole number' in said
    group = ("--alter", "--entity-type", "groups", "--entity-name", "g")
    said = refused(tool("ConfigCommand", *group, "--add-config", "consumer.session.timeout.ms=50000"))
    assert "they are for group protocols that are not served here" in said


def test_configs_of_brokers_from_the_settings(tool: Tool, gateway: GatewayProcess) -> None:
    """kafka-configs tells listeners and the other settings as static."""
    told = lines(
        tool("ConfigCommand", "--describe", "--entity-type", "brokers", "--entity-name", "1", "--all")
    )
    address = f"PLAINTEXT://{gateway.bootstrap.rpartition(':')[0]}:0"
    static = f"{{STATIC_BROKER_CONFIG:listeners={address}, DEFAULT_CONFIG:listeners=PLAINTEXT://:9092}}"
    assert f"listeners={address} sensitive=false synonyms={static}" in told
    assert "num.partitions=1 sensitive=false synonyms={DEFAULT_CONFIG:num.partitions=1}" in told


def test_topics(tool: Tool, topic: str) -> None:
    """kafka-topics and kafka-configs: partitions, configs of its own."""
    lines(tool("TopicCommand", "--alter", "--topic", topic, "--partitions", "3"))
    own = ("--entity-type", "topics", "--entity-name", topic)
    lines(tool("ConfigCommand", "--alter", *own, "--add-config", "retention.ms=5000"))
    head, *partitions = lines(tool("TopicCommand", "--describe", "--topic", topic))
    assert re.search(r"PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: retention.ms=5000", head)
    assert [re.search(r"Leader: 1\s+Replicas: 1\s+Isr: 1", line) is not None for line in partitions] == [
        True
    ] * 3


def test_the_quorum(tool: Tool, gateway: GatewayProcess) -> None:
    """kafka-metadata-quorum: the gateway leads, and nobody lags."""
    told = dict(line.split(":", 1) for line in lines(tool("MetadataQuorumCommand", "describe", "--status")))
    assert {
        name: text.strip() for name, text in told.items() if "Water" not in name and "Id" not in name
    } == {
        "LeaderEpoch": "0",
        "MaxFollowerLag": "0",
        "MaxFollowerLagTimeMs": "0",
        "CurrentVoters": json.dumps([{"id": 1, "endpoints": [f"PLAINTEXT://{gateway.bootstrap}"]}]),
        "CurrentObservers": "[]",
    }
    assert told["LeaderId"].strip() == "1"
    assert int(told["HighWatermark"]) >= 0
    head, leader = lines(tool("MetadataQuorumCommand", "describe", "--replication"))
    assert dict(zip(head.split(), leader.split(), strict=True)) | {
        "NodeId": "1",
        "Lag": "0",
        "Status": "Leader",
        "LogEndOffset": told["HighWatermark"].strip(),
    } == dict(zip(head.split(), leader.split(), strict=True))


def test_features(tool: Tool) -> None:
    """kafka-features: none is there, and none can be had."""
    assert lines(tool("FeatureCommand", "describe")) == []
    for options in (("--feature", "transaction.version=2"), ("--release-version", "4.4", "--dry-run")):
        said = refused(tool("FeatureCommand", "upgrade", *options))
        assert "This gateway does not support this feature." in said
        assert re.search(r"(\d+) out of \1 operation\(s\) failed", said)


def test_log_dirs(tool: Tool, topic: str, tmp_path: Path) -> None:
    """kafka-log-dirs tells of one, and kafka-reassign-partitions can move nothing to another."""
    told = lines(tool("LogDirsCommand", "--describe", "--topic-list", topic))[-1]
    (log_dir,) = json.loads(told)["brokers"][0]["logDirs"]
    assert log_dir["error"] is None
    assert {each["partition"] for each in log_dir["partitions"]} == {f"{topic}-0", f"{topic}-1"}
    for target, works in ((log_dir["logDir"], True), ("/elsewhere", False)):
        plan = tmp_path / "plan.json"
        entry = {"topic": topic, "partition": 0, "replicas": [1], "log_dirs": [target]}
        plan.write_text(json.dumps({"version": 1, "partitions": [entry]}))
        done = tool("reassign.ReassignPartitionsCommand", "--execute", "--reassignment-json-file", str(plan))
        if works:
            assert f"moving log directory to {target} for replica {topic}-0" in "\n".join(lines(done))
        else:
            assert "LogDirNotFoundException" in refused(done)


def test_the_apis(tool: Tool) -> None:
    """kafka-broker-api-versions finds what the tools need."""
    told = "\n".join(lines(tool("BrokerApiVersionsCommand")))
    for api in ("DescribeQuorum(55)", "UpdateFeatures(57)", "AlterReplicaLogDirs(34)", "Produce(0)"):
        assert re.search(rf"{re.escape(api)}: 0 to \d+ \[usable: \d+\]", told), api
