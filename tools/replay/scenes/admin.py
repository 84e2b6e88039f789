"""What else admin tools ask: elections, reassignments, log dirs, producers, versions, features."""

from __future__ import annotations

from typing import Any

from tools.replay.scene import Scene, scene


@scene
def api_versions(s: Scene) -> None:
    code = ("errorCode",)
    for name, version in (
        ("", ""),
        ("a b", "1"),
        ("-a", "1"),
        ("a-", "1"),
        ("a", "1/2"),
        ("a", "1."),
        ("ä", "1"),
        ("x" * 300, "1"),
        ("a", ""),
    ):
        request: dict[str, Any] = {"clientSoftwareName": name, "clientSoftwareVersion": version}
        s.ask(f"client '{name[:9]}' '{version}'", "ApiVersions", request, (3, 4, 5), fields=code)
    s.do("Metadata", {"topics": []}, 2, bind={"clusterId": "cluster"})
    for cluster in ("<cluster>", "elsewhere", "", None):
        for node in (1, 7, -1, -2):
            request = {"clusterId": cluster, "nodeId": node}
            request |= {"clientSoftwareName": "a", "clientSoftwareVersion": "1"}
            s.ask(f"cluster {cluster!r} node {node}", "ApiVersions", request, 5, fields=code)


@scene
def elect_leaders(s: Scene) -> None:
    one = s.topic("one", 2)

    def ask(label: str, *topics: tuple[str, list[int]], versions: Any = (0, 1, 2), **more: Any) -> None:
        entries = [{"topic": name, "partitions": parts} for name, parts in topics]
        s.ask(label, "ElectLeaders", {"topicPartitions": entries, "timeoutMs": 10_000} | more, versions)

    for kind in (0, 1, 2, -1):
        ask(f"type {kind}", (one, [0]), electionType=kind, versions=(1, 2))
    ask("v0", (one, [0]), versions=0)
    ask("nothing")
    ask("no partitions", (one, []))
    ask("unknown partitions", (one, [2, -1, 0]))
    ask("twice", (one, [0, 0]))
    ask("a topic twice", (one, [0]), (one, [1]))
    ask("not there", (s.named("nope"), [0]))
    ask("bad name", ("a b", [0]))
    ask("timeout 0", (one, [0]), timeoutMs=0)
    ask("timeout -1", (one, [0]), timeoutMs=-1)


@scene
def alter_partition_reassignments(s: Scene) -> None:
    one = s.topic("one", 2)

    def ask(label: str, *parts: tuple[str, int, list[int] | None], **more: Any) -> None:
        topics = [
            {"name": name, "partitions": [{"partitionIndex": index, "replicas": replicas}]}
            for name, index, replicas in parts
        ]
        s.ask(label, "AlterPartitionReassignments", {"topics": topics, "timeoutMs": 10_000} | more)

    ask("to where it is", (one, 0, [1]))
    ask("cancelled", (one, 0, None))
    ask("to nobody", (one, 0, []))
    ask("to an unknown one", (one, 0, [7]))
    ask("to one twice", (one, 0, [1, 1]))
    ask("to a negative one", (one, 0, [-1]))
    ask("to both", (one, 0, [1, 7]))
    ask("unknown partition", (one, 2, [1]))
    ask("negative partition", (one, -1, [1]))
    ask("unknown partition, cancelled", (one, 2, None))
    ask("not there", (s.named("nope"), 0, [1]))
    ask("not there, cancelled", (s.named("nope"), 0, None))
    ask("bad name", ("a b", 0, [1]))
    ask("twice", (one, 0, [1]), (one, 0, [1]))
    ask("a topic twice", (one, 0, [1]), (one, 1, [1]))
    ask("nothing")
    ask("no factor may change", (one, 0, [1, 7]), allowReplicationFactorChange=False)
    empty = {"topics": [{"name": one, "partitions": []}], "timeoutMs": 10_000}
    s.ask("no partitions", "AlterPartitionReassignments", empty)


@scene
def list_partition_reassignments(s: Scene) -> None:
    one = s.topic("one", 2)
    named: list[tuple[str, list[tuple[str, list[int]]] | None]] = [
        ("all", None),
        ("none", []),
        ("one", [(one, [0])]),
        ("unknown partitions", [(one, [2, -1])]),
        ("not there", [(s.named("nope"), [0])]),
        ("twice", [(one, [0, 0]), (one, [0])]),
        ("bad name", [("a b", [0])]),
        ("no partitions", [(one, [])]),
    ]
    for told, topics in named:
        entries: list[dict[str, Any]] | None = None
        if topics is not None:
            entries = [{"name": name, "partitionIndexes": parts} for name, parts in topics]
        s.ask(told, "ListPartitionReassignments", {"topics": entries, "timeoutMs": 10_000})


@scene
def describe_log_dirs(s: Scene) -> None:
    one, empty = s.topic("one", 2), s.topic("empty")
    s.produce(one, "a")

    def ask(label: str, *topics: tuple[str, list[int]]) -> None:
        entries = [{"topic": name, "partitions": parts} for name, parts in topics]
        s.ask(label, "DescribeLogDirs", {"topics": entries}, mine=True)

    ask("two", (one, [0, 1]), (empty, [0]))
    ask("none")
    ask("unknown partitions", (one, [2, -1]))
    ask("not there", (s.named("nope"), [0]))
    ask("bad name", ("a b", [0]))
    ask("a partition twice", (one, [0, 0]))
    ask("a topic twice", (one, [0]), (one, [1]))
    ask("a topic twice with its partition", (one, [0]), (one, [0]))
    ask("no partitions", (one, []))
    s.ask("all", "DescribeLogDirs", {"topics": None}, mine=True)


@scene
def describe_producers(s: Scene) -> None:
    one = s.topic("one", 2)

    def ask(label: str, *topics: tuple[str, list[int]]) -> None:
        entries = [{"name": name, "partitionIndexes": parts} for name, parts in topics]
        s.ask(label, "DescribeProducers", {"topics": entries})

    ask("nobody", (one, [0, 1]))
    ask("unknown partitions", (one, [2, -1]))
    ask("not there", (s.named("nope"), [0, 1]))
    ask("bad name", ("a b", [0]))
    ask("empty name", ("", [0]))
    ask("twice", (one, [0, 0]))
    ask("a topic twice", (one, [0]), (one, [1]))
    ask("nothing")
    ask("no partitions", (one, []))


@scene
def describe_quorum(s: Scene) -> None:
    one = s.topic("one")
    named: list[tuple[str, list[tuple[str, list[int]]]]] = [
        ("nothing", []),
        ("another topic", [(one, [0])]),
        ("not there", [(s.named("nope"), [0])]),
        ("another partition", [("__cluster_metadata", [1])]),
        ("no partitions", [("__cluster_metadata", [])]),
        ("twice", [("__cluster_metadata", [0, 0])]),
        ("beside another topic", [("__cluster_metadata", [0]), (one, [0])]),
    ]
    for told, topics in named:
        entries = [
            {"topicName": name, "partitions": [{"partitionIndex": index} for index in parts]}
            for name, parts in topics
        ]
        own = any(name == "__cluster_metadata" and 0 in parts for name, parts in topics)
        fields = (
            ("errorCode",) if own else ("errorCode", "topics")
        )  # else offsets and times of this very quorum
        s.ask(told, "DescribeQuorum", {"topics": entries}, fields=fields)


@scene
def alter_replica_log_dirs(s: Scene) -> None:
    one = s.topic("one", 2)

    def ask(label: str, *moves: tuple[str, str, list[int]]) -> None:
        dirs = [
            {"path": path, "topics": [{"name": name, "partitions": parts}]} for path, name, parts in moves
        ]
        s.ask(label, "AlterReplicaLogDirs", {"dirs": dirs})

    ask("nothing")
    ask("to an unknown dir", ("/nowhere", one, [0, 1]))
    ask("to a relative dir", ("nowhere", one, [0]))
    ask("to an empty name", ("", one, [0]))
    ask("unknown partitions", ("/nowhere", one, [2, -1]))
    ask("not there", ("/nowhere", s.named("nope"), [0]))
    ask("bad name", ("/nowhere", "a b", [0]))
    ask("twice", ("/nowhere", one, [0, 0]))
    ask("to two dirs", ("/nowhere", one, [0]), ("/elsewhere", one, [0]))
    ask("no partitions", ("/nowhere", one, []))
    s.ask("a dir without topics", "AlterReplicaLogDirs", {"dirs": [{"path": "/nowhere", "topics": []}]})


@scene
def update_features(s: Scene) -> None:
    def ask(label: str, *updates: dict[str, Any], versions: Any = (1, 2)) -> None:
        request = {"featureUpdates": list(updates), "validateOnly": True, "timeoutMs": 10_000}
        s.ask(label, "UpdateFeatures", request, versions)

    def update(name: str, level: int, kind: int = 1) -> dict[str, Any]:
        return {"feature": name, "maxVersionLevel": level, "upgradeType": kind}

    ask("nothing")
    ask("unknown", update("nope", 1))
    ask("unknown, to nothing", update("nope", 0, 2))
    ask("an empty name", update("", 1))
    ask("negative", update("group.version", -1))
    ask("too high", update("group.version", 99))
    ask("to where it is", update("metadata.version", 33))
    ask("an upgrade to a lower one", update("metadata.version", 25))
    ask("twice", update("group.version", 1), update("group.version", 1))
    ask("an unknown kind", update("group.version", 1, 9))
    ask("the odd beside the right", update("nope", 1), update("metadata.version", 33))
