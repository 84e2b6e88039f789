"""CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords."""

from __future__ import annotations

from typing import Any

from tools.replay.scene import Scene, scene
from tools.replay.scenes.metadata import ODD_NAMES

UNKNOWN_ID = "AAAAAAAAAAAAAAAAAAAAZg"
ZERO_ID = "A" * 22


def _create(*topics: dict[str, Any], only_check: bool = False) -> dict[str, Any]:
    full = [{"numPartitions": 1, "replicationFactor": 1} | topic for topic in topics]
    return {"topics": full, "timeoutMs": 30_000, "validateOnly": only_check}


def _configured(name: str, *configs: tuple[str, str | None]) -> dict[str, Any]:
    return {"name": name, "configs": [{"name": key, "value": value} for key, value in configs]}


def _assigned(name: str, *replicas: list[int], first: int = 0, **more: int) -> dict[str, Any]:
    entries = [{"partitionIndex": index, "brokerIds": ids} for index, ids in enumerate(replicas, first)]
    return {"name": name, "numPartitions": -1, "replicationFactor": -1, "assignments": entries} | more


@scene
def create_topics(s: Scene) -> None:
    there = s.topic("there")
    for version in range(8):
        s.ask("made", "CreateTopics", _create({"name": s.named(f"v{version}")}), version)
        s.ask("there already", "CreateTopics", _create({"name": there}), version)
    s.ask("only checked", "CreateTopics", _create({"name": s.named("only")}, only_check=True), range(1, 8))
    s.ask("only checked, there", "CreateTopics", _create({"name": there}, only_check=True), range(1, 8))
    s.ask("none", "CreateTopics", _create())
    for name in ODD_NAMES:
        told = f"name '{name[:9]}' of {len(name)}"
        s.ask(told, "CreateTopics", _create({"name": name}, only_check=True), (2, 5, 7))
    numbers = (0, -1, -2, 2, 3, 2**15 - 1)
    for number in numbers:
        entry = {"name": s.named(f"p{number}"), "numPartitions": number}
        if number < 100:
            s.ask(f"{number} partitions", "CreateTopics", _create(entry), (2, 4, 7))
        entry = {"name": s.named(f"r{number}"), "replicationFactor": number}
        s.ask(f"{number} replicas", "CreateTopics", _create(entry, only_check=True), (2, 4, 7))
    s.ask("10001 partitions", "CreateTopics", _create({"name": s.named("many"), "numPartitions": 10_001}), 5)
    s.ask(
        "twice",
        "CreateTopics",
        _create({"name": s.named("twice")}, {"name": s.named("twice"), "numPartitions": 2}),
        (2, 7),
    )
    pair = {"name": s.named("twice")}
    s.ask(
        "twice beside others",
        "CreateTopics",
        _create(pair, {"name": s.named("beside")}, pair, {"name": there}),
        (2, 7),
    )
    s.ask("three times", "CreateTopics", _create(pair, pair, pair), 7)
    s.ask("the odd beside the right", "CreateTopics", _create({"name": "a b"}, {"name": s.named("ok")}), 7)
    s.ask(
        "-1 and -1",
        "CreateTopics",
        _create({"name": s.named("d")} | {"numPartitions": -1, "replicationFactor": -1}),
    )


@scene
def create_topics_colliding(s: Scene) -> None:
    s.topics({s.named("a.b"): 1})
    s.ask("with one that is there", "CreateTopics", _create({"name": s.named("a_b")}))
    own = _create({"name": "__consumer.offsets"}, only_check=True)
    s.ask("with Kafka's own", "CreateTopics", own, range(1, 8))
    both = _create({"name": s.named("x.y")}, {"name": s.named("x_y")})
    s.ask("two in one, only checked", "CreateTopics", both | {"validateOnly": True}, (2, 5, 7))
    s.ask("two in one", "CreateTopics", both, 7)
    s.ask(
        "which of them is there",
        "Metadata",
        {"topics": [{"name": s.named("x.y")}, {"name": s.named("x_y")}], "allowAutoTopicCreation": False},
        4,
    )


@scene
def create_topics_assigned(s: Scene) -> None:
    versions = (2, 5, 7)

    def ask(label: str, *topics: dict[str, Any]) -> None:
        s.ask(label, "CreateTopics", _create(*topics, only_check=True), versions)

    name = s.named("a")
    ask("right", _assigned(name, [1], [1]))
    ask("unknown broker", _assigned(name, [7]))
    ask("one that is there and one that is not", _assigned(name, [1, 7]))
    ask("one twice", _assigned(name, [1, 1]))
    ask("nobody", _assigned(name, []))
    ask("nobody for one", _assigned(name, [1], []))
    ask("negative broker", _assigned(name, [-1]))
    ask("from 1", _assigned(name, [1], [1], first=1))
    ask("from -1", _assigned(name, [1], [1], first=-1))
    ask("differing factors", _assigned(name, [1], [1, 2]))
    ask("differing factors, of those there", _assigned(name, [1, 2], [1]))
    ask("with partitions", _assigned(name, [1], numPartitions=1))
    ask("with a factor", _assigned(name, [1], replicationFactor=1))
    ask("with both", _assigned(name, [1], numPartitions=1, replicationFactor=1))
    ask("with 0 partitions", _assigned(name, [1], numPartitions=0))
    gap = _assigned(name, [1], [1])
    gap["assignments"][1]["partitionIndex"] = 2
    ask("with a gap", gap)
    same = _assigned(name, [1], [1])
    same["assignments"][1]["partitionIndex"] = 0
    ask("a partition twice", same)
    ask("unknown broker beside a right topic", _assigned(name, [7]), _assigned(s.named("b"), [1]))
    ask("of a topic with a bad name", _assigned("a b", [7]))
    s.ask("made", "CreateTopics", _create(_assigned(s.named("made"), [1], [1])), 7)


@scene
def create_topics_configs(s: Scene) -> None:
    def ask(label: str, *configs: tuple[str, str | None], versions: tuple[int, ...] = (2, 5, 7)) -> None:
        s.ask(label, "CreateTopics", _create(_configured(s.named("c"), *configs), only_check=True), versions)

    ask("unknown", ("nope", "1"))
    ask("empty name", ("", "1"))
    ask("null", ("retention.ms", None))
    ask("empty value", ("retention.ms", ""))
    ask("not a number", ("retention.ms", "soon"))
    ask("too low", ("retention.ms", "-2"))
    ask("spaces around", ("retention.ms", " 5 "))
    ask("a plus", ("retention.ms", "+5"))
    ask("bad policy", ("cleanup.policy", "nope"))
    ask("two policies", ("cleanup.policy", "compact,delete"))
    ask("a policy twice", ("cleanup.policy", "delete,delete"))
    ask("no policy", ("cleanup.policy", ""))
    ask("policy in capitals", ("cleanup.policy", "COMPACT"))
    ask("bad codec", ("compression.type", "brotli"))
    ask("bad bool", ("preallocate", "yes"))
    ask("bool in capitals", ("preallocate", "TRUE"))
    ask("lags the wrong way round", ("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5"))
    ask("a ratio over 1", ("min.cleanable.dirty.ratio", "1.5"))
    ask("a ratio that is none", ("min.cleanable.dirty.ratio", "NaN"))
    ask("tiered", ("remote.storage.enable", "true"))
    ask("throttled replicas", ("leader.replication.throttled.replicas", "*"))
    ask("throttled replicas, bad", ("leader.replication.throttled.replicas", "x"))
    ask("unknown beside bad", ("nope", "1"), ("retention.ms", "soon"))
    ask("twice the same", ("retention.ms", "5"), ("retention.ms", "5"))
    ask("twice, the last one bad", ("retention.ms", "5"), ("retention.ms", "soon"))
    ask("twice, the first one bad", ("retention.ms", "soon"), ("retention.ms", "5"))
    odd = {
        "retention.ms": " 5 ",
        "segment.ms": "+5",
        "preallocate": "TRUE",
        "cleanup.policy": "delete, delete",
        "min.cleanable.dirty.ratio": "0.50",
        "max.message.bytes": "007",
    }
    name = s.named("odd")
    s.ask("odd values", "CreateTopics", _create(_configured(name, *odd.items())), 7)
    resource = {"resourceType": 2, "resourceName": name, "configurationKeys": list(odd)}
    s.ask("as described", "DescribeConfigs", {"resources": [resource], "includeSynonyms": True}, 4)


@scene
def delete_topics(s: Scene) -> None:
    for version in range(7):
        name = s.topic(f"v{version}")
        by_name = {"topicNames": [name], "topics": [{"name": name}], "timeoutMs": 30_000}
        s.ask("by name", "DeleteTopics", by_name, version)
        s.ask("again", "DeleteTopics", by_name, version)
        s.ask("none", "DeleteTopics", {"timeoutMs": 30_000}, version)
        odd = {"topicNames": ["a b", ""], "topics": [{"name": "a b"}, {"name": ""}], "timeoutMs": 30_000}
        s.ask("odd names", "DeleteTopics", odd, version)
    one = s.topic("one")
    twice = {"topicNames": [one, one], "timeoutMs": 30_000}
    s.ask("a name twice", "DeleteTopics", twice, (1, 3, 5))
    s.ask(
        "a name not there twice", "DeleteTopics", {"topicNames": ["replay-nope"] * 2, "timeoutMs": 9}, (1, 5)
    )


def _deleted(*topics: tuple[str | None, str]) -> dict[str, Any]:
    return {"topics": [{"name": name, "topicId": id} for name, id in topics], "timeoutMs": 30_000}


@scene
def delete_topics_by_id(s: Scene) -> None:
    one, two, three = s.topic("one"), s.topic("two"), s.topic("three")

    def ask(label: str, *topics: tuple[str | None, str]) -> None:
        s.ask(label, "DeleteTopics", _deleted(*topics), 6)

    ask("neither", (None, ZERO_ID))
    ask("neither, twice", (None, ZERO_ID), (None, ZERO_ID))
    ask("both in one", (one, s.id(one)))
    ask("both in one, of different topics", (one, s.id(two)))
    ask("unknown id", (None, UNKNOWN_ID))
    ask("unknown id twice", (None, UNKNOWN_ID), (None, UNKNOWN_ID))
    ask("id twice", (None, s.id(one)), (None, s.id(one)))
    ask("name twice", (one, ZERO_ID), (one, ZERO_ID))
    ask("by id and by name", (None, s.id(one)), (one, ZERO_ID))
    ask("by name and by id", (one, ZERO_ID), (None, s.id(one)))
    ask("by id, by name, and by id again", (None, s.id(one)), (one, ZERO_ID), (None, s.id(one)))
    ask("by id and by name, beside another", (None, s.id(one)), (two, ZERO_ID), (one, ZERO_ID))
    ask("reserved id", (None, "AAAAAAAAAAAAAAAAAAAAAQ"))
    there = {"topics": [{"name": one}, {"name": two}], "allowAutoTopicCreation": False}
    s.ask("what is left", "Metadata", there, 4)
    ask("by id", (None, s.id(three)))
    ask("by id again", (None, s.id(three)))
    ask("by its name again", (three, ZERO_ID))
    ask("empty name with an id", ("", s.id(one)))
    ask("by id beside an unknown name", (None, s.id(one)), (s.named("nope"), ZERO_ID))


@scene
def create_partitions(s: Scene) -> None:
    one, two = s.topic("one"), s.topic("two", 3)
    versions = (0, 2, 3)

    def ask(label: str, *topics: tuple[str, int, list[list[int]] | None], check: bool = True) -> None:
        entries = [
            {
                "name": name,
                "count": count,
                "assignments": None if lists is None else [{"brokerIds": ids} for ids in lists],
            }
            for name, count, lists in topics
        ]
        request = {"topics": entries, "timeoutMs": 30_000, "validateOnly": check}
        s.ask(label, "CreatePartitions", request, versions)

    ask("right", (one, 2, None))
    ask("as many", (two, 3, None))
    ask("fewer", (two, 2, None))
    for count in (0, -1, 2**31 - 1, 10_002):
        ask(f"{count}", (one, count, None))
    ask("not there", (s.named("nope"), 3, None))
    ask("empty name", ("", 3, None))
    ask("bad name", ("a b", 3, None))
    ask("twice", (one, 2, None), (one, 3, None))
    ask("twice beside another", (one, 2, None), (two, 4, None), (one, 2, None))
    ask("assigned", (one, 3, [[1], [1]]))
    ask("assigned too few", (one, 3, [[1]]))
    ask("assigned too many", (one, 2, [[1], [1]]))
    ask("assigned none", (one, 2, []))
    ask("assigned to nobody", (one, 2, [[]]))
    ask("assigned to one twice", (one, 2, [[1, 1]]))
    ask("assigned to an unknown one", (one, 2, [[7]]))
    ask("assigned to a negative one", (one, 2, [[-1]]))
    ask("assigned to one and an unknown one", (one, 2, [[1, 7]]))
    ask("assigned to differing numbers", (one, 3, [[1], [1, 7]]))
    ask("assigned, as many", (two, 3, [[7]]))
    ask("assigned, not there", (s.named("nope"), 3, [[7]]))
    s.ask("none", "CreatePartitions", {"timeoutMs": 1})
    one_more = {"topics": [{"name": two, "count": 4, "assignments": None}], "timeoutMs": 30_000}
    s.ask("made", "CreatePartitions", one_more, 3)
    s.ask("made again", "CreatePartitions", one_more, 3)


@scene
def delete_records(s: Scene) -> None:
    one, empty = s.topic("one", 2), s.topic("empty")
    s.produce(one, *"abcdefghij")

    def ask(label: str, *parts: tuple[str, int, int], versions: tuple[int, ...] = (0, 1, 2)) -> None:
        topics = [
            {"name": name, "partitions": [{"partitionIndex": index, "offset": offset}]}
            for name, index, offset in parts
        ]
        s.ask(label, "DeleteRecords", {"topics": topics, "timeoutMs": 10_000}, versions)

    ask("too high", (one, 0, 11))
    ask("-2", (one, 0, -2))
    ask("lowest", (one, 0, -(2**63)))
    ask("highest", (one, 0, 2**63 - 1))
    ask("negative partition", (one, -1, 1))
    ask("unknown partition", (one, 2, 1))
    ask("not there", (s.named("nope"), 0, 1))
    ask("bad name", ("a b", 0, 1))
    ask("to 3", (one, 0, 3))
    ask("to 1 after that", (one, 0, 1))
    ask("a topic twice", (one, 0, 4), (one, 1, 0))
    ask("a partition twice", (one, 0, 5), (one, 0, 6), versions=(2,))
    ask("a partition twice, the lower last", (one, 0, 8), (one, 0, 7), versions=(2,))
    ask("an empty log", (empty, 0, 0))
    ask("an empty log, to its end", (empty, 0, -1))
    ask("an empty log, too high", (empty, 0, 1))
    ask("to the end", (one, 0, -1))
    s.ask("none", "DeleteRecords", {"timeoutMs": 1})
    no_parts = {"topics": [{"name": one, "partitions": []}], "timeoutMs": 10_000}
    s.ask("no partitions", "DeleteRecords", no_parts)
    compact = s.topic("compact", configs={"cleanup.policy": "compact"})
    ask("of a compacted topic", (compact, 0, 0))
