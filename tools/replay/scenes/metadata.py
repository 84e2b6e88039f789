"""Metadata, DescribeTopicPartitions and DescribeCluster: topics by odd names, twice, by id, on demand."""

from __future__ import annotations

from typing import Any

from tools.replay.scene import Scene, scene

ODD_NAMES = ("", ".", "..", "a b", "a/b", "ä", "x" * 249, "x" * 250)


def _named(*names: str | None) -> dict[str, Any]:
    return {"topics": [{"name": name} for name in names], "allowAutoTopicCreation": False}


@scene
def metadata_named(s: Scene) -> None:
    one, two = s.topic("one"), s.topic("two", 3)
    nope = s.named("nope")
    s.ask("one", "Metadata", _named(one))
    s.ask("one twice", "Metadata", _named(one, one))
    s.ask("one twice beside another", "Metadata", _named(two, one, two), mine=True)
    s.ask("not there", "Metadata", _named(nope), range(4, 14))
    s.ask("not there, twice", "Metadata", _named(nope, nope, one), range(4, 14))
    for name in ODD_NAMES:
        s.ask(f"name '{name[:9]}' of {len(name)}", "Metadata", _named(name), (4, 9, 12, 13))
    s.ask("odd names together", "Metadata", _named(*ODD_NAMES, one), (4, 12))
    s.ask("none", "Metadata", {"topics": [], "allowAutoTopicCreation": False}, range(1, 14))
    s.ask("all", "Metadata", {"topics": None, "allowAutoTopicCreation": False}, range(1, 14), mine=True)
    s.ask("all, by an empty list", "Metadata", {"topics": []}, 0, mine=True)
    s.ask("in their order", "Metadata", _named(two, nope, one), (4, 12), ordered=True)
    operations = {"includeClusterAuthorizedOperations": True, "includeTopicAuthorizedOperations": True}
    s.ask("with operations", "Metadata", _named(one, nope) | operations, range(8, 14))
    s.ask("internal", "Metadata", _named("__consumer_offsets_not", one), (4, 12))


@scene
def metadata_by_id(s: Scene) -> None:
    one, two = s.topic("one"), s.topic("two", 2)
    by_id = (10, 11, 12, 13)

    def asked(*topics: tuple[str | None, str]) -> dict[str, Any]:
        entries = [{"name": name, "topicId": id} for name, id in topics]
        return {"topics": entries, "allowAutoTopicCreation": False}

    zero, reserved, unknown = "A" * 22, "AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAZg"
    s.ask("by id", "Metadata", asked((None, s.id(one))), by_id)
    s.ask("by id, twice", "Metadata", asked((None, s.id(one)), (None, s.id(one))), by_id)
    s.ask("by id and by name", "Metadata", asked((None, s.id(one)), (one, zero)), by_id)
    s.ask("id and name in one", "Metadata", asked((one, s.id(one))), by_id)
    s.ask("id of one, name of another", "Metadata", asked((two, s.id(one))), by_id)
    s.ask("neither", "Metadata", asked((None, zero)), by_id)
    s.ask("neither, beside a right one", "Metadata", asked((None, zero), (one, zero)), by_id)
    s.ask("unknown id", "Metadata", asked((None, unknown)), by_id)
    s.ask("unknown id, twice", "Metadata", asked((None, unknown), (None, unknown)), by_id)
    s.ask("unknown id beside a name", "Metadata", asked((None, unknown), (one, zero)), by_id)
    s.ask("reserved id", "Metadata", asked((None, reserved)), by_id)
    s.ask("empty name and id", "Metadata", asked(("", s.id(one))), by_id)


@scene
def metadata_creates(s: Scene) -> None:
    there = s.named("a.b")
    s.topics({there: 1})
    like, first, second = s.named("a_b"), s.named("x.y"), s.named("x_y")

    def made(*names: str) -> dict[str, Any]:
        return {"topics": [{"name": name} for name in names], "allowAutoTopicCreation": True}

    s.ask("collides with one that is there", "Metadata", made(like), (4, 9, 12))
    s.ask("collides with Kafka's own", "Metadata", made("__consumer.offsets"), (4, 12))
    s.ask("two that collide", "Metadata", made(first, second), (4, 12))
    s.settle()
    s.ask("what was made of those", "Metadata", _named(there, like, first, second, "__consumer.offsets"), 4)
    s.ask("bad name", "Metadata", made("replay a b"), (1, 4, 9, 12))
    s.ask("bad name beside a right one", "Metadata", made("replay a b", s.named("right")), 4)
    s.settle()
    s.ask("the right one is there", "Metadata", _named(s.named("right")), 4)
    s.ask("made by v1, which cannot forbid it", "Metadata", made(s.named("old")), 1)
    s.settle()
    s.ask("it is there", "Metadata", _named(s.named("old")), 4)
    twice = s.named("twice")
    s.ask("one twice", "Metadata", made(twice, twice), 4)
    s.settle()
    s.ask("it is there once", "Metadata", _named(twice), 4)
    s.ask("too long a name", "Metadata", made("replay" + "x" * 244), 4)
    s.ask("not by id", "Metadata", {"topics": [{"name": None, "topicId": "AAAAAAAAAAAAAAAAAAAAZg"}]}, 12)


@scene
def describe_topic_partitions(s: Scene) -> None:
    one, two = s.topic("one"), s.topic("two", 5)

    def asked(*names: str, limit: int = 2000, cursor: tuple[str, int] | None = None) -> dict[str, Any]:
        at = {"topicName": cursor[0], "partitionIndex": cursor[1]} if cursor else None
        return {"topics": [{"name": name} for name in names], "responsePartitionLimit": limit, "cursor": at}

    def ask(label: str, request: dict[str, Any]) -> None:
        s.ask(label, "DescribeTopicPartitions", request, ordered=True, mine=True)

    ask("two", asked(two, one))
    ask("twice", asked(one, one, two))
    ask("not there", asked(s.named("nope"), one))
    ask("all", asked())
    for limit in (1, 3, 5, 6, 0, -1):
        ask(f"limit {limit}", asked(one, two, limit=limit))
    ask("from a cursor", asked(one, two, limit=2, cursor=(two, 3)))
    ask("from a cursor past the end", asked(one, two, cursor=(two, 5)))
    ask("from a cursor far past the end", asked(one, two, cursor=(two, 2**31 - 1)))
    ask("from a negative cursor", asked(one, two, cursor=(two, -1)))
    ask("from a cursor at a topic that is not asked for", asked(one, cursor=(two, 0)))
    ask("from a cursor at a topic that is not there", asked(one, two, cursor=(s.named("p"), 0)))
    ask("from a cursor at an empty name", asked(one, two, cursor=("", 0)))


@scene
def describe_cluster(s: Scene) -> None:
    for kind in (1, 2, 0, 9, -1):
        s.ask(f"endpoints {kind}", "DescribeCluster", {"endpointType": kind})
    s.ask("with operations", "DescribeCluster", {"includeClusterAuthorizedOperations": True})
    s.ask("with fenced", "DescribeCluster", {"includeFencedBrokers": True}, 2)
