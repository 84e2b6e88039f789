"""Fetch: full ones, and those of a session (KIP-227)."""

from __future__ import annotations

from typing import Any

from tools.replay.scene import Scene, scene
from tools.replay.scenes.topics import UNKNOWN_ID, ZERO_ID

ALL = range(4, 19)
SOME = (4, 7, 11, 12, 13, 16, 18)
BY_NAME = range(4, 13)


def part(partition: int = 0, offset: int = 0, size: int = 1 << 20, **more: Any) -> dict[str, Any]:
    """One partition of a Fetch."""
    return {"partition": partition, "fetchOffset": offset, "partitionMaxBytes": size} | more


def fetch(*topics: tuple[str, list[dict[str, Any]]], **more: Any) -> dict[str, Any]:
    """A Fetch that does not wait."""
    entries = [{"topic": name, "topicId": f"<id of {name}>", "partitions": parts} for name, parts in topics]
    return {"maxWaitMs": 0, "minBytes": 1, "maxBytes": 1 << 20, "topics": entries} | more


def forgotten(*topics: tuple[str, list[int]]) -> list[dict[str, Any]]:
    """What a session forgets."""
    return [{"topic": name, "topicId": f"<id of {name}>", "partitions": parts} for name, parts in topics]


@scene
def fetch_places(s: Scene) -> None:
    one, two = s.topic("one", 2), s.topic("two")
    s.produce(one, "a", "b")
    s.produce(one, "c")
    s.produce(two, "d")
    nope = s.named("nope")
    s.ask("one", "Fetch", fetch((one, [part()])), ALL)
    s.ask("from 1, within a batch", "Fetch", fetch((one, [part(offset=1)])), SOME)
    s.ask("at the end", "Fetch", fetch((one, [part(offset=3)])), ALL)
    s.ask("past the end", "Fetch", fetch((one, [part(offset=4)])), ALL)
    for offset in (-1, -2, -(2**63), 2**63 - 1):
        s.ask(f"offset {offset}", "Fetch", fetch((one, [part(offset=offset)])), (4, 12, 13))
    s.ask("unknown partition", "Fetch", fetch((one, [part(2)])), SOME)
    s.ask("negative partition", "Fetch", fetch((one, [part(-1)])), SOME)
    s.ask("unknown topic", "Fetch", fetch((nope, [part()])), BY_NAME)
    s.ask("bad name", "Fetch", fetch(("a b", [part()])), (4, 7, 12))
    s.ask("empty name", "Fetch", fetch(("", [part()])), (4, 7, 12))
    for id, told in ((UNKNOWN_ID, "unknown id"), (ZERO_ID, "no id")):
        topics = [{"topicId": id, "partitions": [part(), part(1)]}]
        s.ask(told, "Fetch", fetch() | {"topics": topics}, (13, 16, 18))
        right = [*topics, {"topicId": s.id(one), "partitions": [part()]}]
        s.ask(f"{told}, beside a right one", "Fetch", fetch() | {"topics": right}, (13, 18))
    s.ask("one right, two not", "Fetch", fetch((one, [part(), part(9)]), (nope, [part()])), BY_NAME)
    s.ask("a partition twice", "Fetch", fetch((one, [part(), part(offset=2)])), SOME, ordered=True)
    s.ask("a topic twice", "Fetch", fetch((one, [part()]), (two, [part()]), (one, [part(1)])), SOME)
    s.ask("a topic and partition twice", "Fetch", fetch((one, [part()]), (one, [part()])), SOME)
    s.ask("nothing", "Fetch", fetch(), ALL)
    s.ask("a topic without partitions", "Fetch", fetch((one, [])), SOME)


@scene
def fetch_numbers(s: Scene) -> None:
    one = s.topic("one")
    for text in ("a" * 50, "b" * 50, "c" * 50):
        s.produce(one, text)
    for size in (0, -1, 1, 150, -(2**31)):
        s.ask(f"{size} bytes of a partition", "Fetch", fetch((one, [part(size=size)])), SOME)
        s.ask(f"{size} bytes in all", "Fetch", fetch((one, [part()])) | {"maxBytes": size}, SOME)
    for least in (0, -1, 2**31 - 1, -(2**31)):
        s.ask(f"at least {least}", "Fetch", fetch((one, [part()])) | {"minBytes": least}, (4, 12, 13))
    for wait in (-1, -(2**31)):
        s.ask(f"wait {wait}", "Fetch", fetch((one, [part(offset=3)])) | {"maxWaitMs": wait}, (4, 12, 13))
    s.ask(
        "wait at the end, least 0",
        "Fetch",
        fetch((one, [part(offset=3)])) | {"maxWaitMs": 60_000, "minBytes": 0},
        (4, 12, 13),
    )
    for level in (1, 2, -1):
        s.ask(f"isolation {level}", "Fetch", fetch((one, [part()])) | {"isolationLevel": level}, (4, 7, 12))
    for start in (0, 5, -2):
        s.ask(f"log start {start}", "Fetch", fetch((one, [part(logStartOffset=start)])), (5, 12, 18))
    s.ask("a rack", "Fetch", fetch((one, [part()])) | {"rackId": "elsewhere"}, (11, 12, 18))
    s.ask("another cluster", "Fetch", fetch((one, [part()])) | {"clusterId": "elsewhere"}, (12, 18))


@scene
def fetch_that_is_small(s: Scene) -> None:
    """Which partition it fills."""
    one, two = s.topic("one"), s.topic("two")
    for text in ("a" * 50, "b" * 50, "c" * 50):
        s.produce(one, text)
        s.produce(two, text)
    both = fetch((one, [part()]), (two, [part()]))
    for client, version in enumerate(SOME, 1):
        s.ask("first", "Fetch", both | {"maxBytes": 1}, version, client=client)
        s.ask("next", "Fetch", both | {"maxBytes": 1}, version, client=client)
        s.ask("two batches", "Fetch", both | {"maxBytes": 250}, version, client=20 + client)


@scene
def fetch_as_a_follower(s: Scene) -> None:
    one = s.topic("one")
    s.produce(one, "a")
    for replica in (0, 1, 5, -2, -3, -(2**31)):
        s.ask(f"replica {replica}", "Fetch", fetch((one, [part()])) | {"replicaId": replica}, (4, 9, 12))
        state = {"replicaState": {"replicaId": replica, "replicaEpoch": -1}}
        s.ask(f"replica state {replica}", "Fetch", fetch((one, [part()])) | state, (15, 18))


@scene
def fetch_epochs(s: Scene) -> None:
    one = s.topic("one")
    s.produce(one, "a", "b")
    for epoch in (0, 1, 5, -2, 2**31 - 1):
        s.ask(
            f"leader epoch {epoch}", "Fetch", fetch((one, [part(currentLeaderEpoch=epoch)])), (9, 12, 16, 18)
        )
    for epoch in (0, 1, 5, -2, 2**31 - 1):
        s.ask(f"last fetched {epoch}", "Fetch", fetch((one, [part(lastFetchedEpoch=epoch)])), (12, 16, 18))
        at_end = fetch((one, [part(offset=2, lastFetchedEpoch=epoch)]))
        s.ask(f"last fetched {epoch} at the end", "Fetch", at_end, (12, 16, 18))
        past = fetch((one, [part(offset=7, lastFetchedEpoch=epoch)]))
        s.ask(f"last fetched {epoch} past the end", "Fetch", past, (12, 16, 18))
    both = fetch((one, [part(lastFetchedEpoch=5, currentLeaderEpoch=5)]))
    s.ask("both", "Fetch", both, (12, 18))
    unknown = fetch((one, [part(9, currentLeaderEpoch=5)]))
    s.ask("epoch of an unknown partition", "Fetch", unknown, (9, 12, 18))


@scene
def fetch_sessions(s: Scene) -> None:
    one, two = s.topic("one", 2), s.topic("two")
    s.produce(one, "a")
    for id, epoch in ((0, 1), (0, 2**31 - 1), (0, -2), (12345, 1), (12345, 0), (12345, -1), (-1, 5), (-1, 0)):
        request = fetch((one, [part()])) | {"sessionId": id, "sessionEpoch": epoch}
        if epoch != 0:  # else a session begins, whose id is made up
            s.ask(f"session {id}, epoch {epoch}", "Fetch", request, (7, 12, 13, 18))
    for version in (7, 12, 13, 18):
        _session(s, version, one, two)


def _session(s: Scene, version: int, one: str, two: str) -> None:
    session = f"session {version}"

    def ask(label: str, epoch: int, *topics: tuple[str, list[dict[str, Any]]], **more: Any) -> None:
        request = fetch(*topics) | {"sessionId": f"<{session}>", "sessionEpoch": epoch} | more
        s.ask(label, "Fetch", request, version)

    begin = fetch((one, [part(), part(1)]), (two, [part()])) | {"sessionEpoch": 0}
    s.ask("begins", "Fetch", begin, version, bind={"sessionId": session})
    ask("nothing new", 1, (one, [part(offset=1)]))
    ask("nothing at all", 2)
    ask("a wrong epoch", 9)
    ask("the last epoch again", 2)
    ask("a partition read again", 3, (one, [part(offset=0)]))
    ask("one forgotten", 4, (one, [part(offset=1)]), forgottenTopicsData=forgotten((one, [1])))
    ask("forgotten again", 5, forgottenTopicsData=forgotten((one, [1, 7])))
    ask("changed and forgotten in one", 6, (one, [part()]), forgottenTopicsData=forgotten((one, [0])))
    ask("an unknown partition", 7, (one, [part(9)]))
    ask("it is told again", 8)
    ask("an offset out of range", 9, (one, [part(0, 99)]))
    ask("it is told again, too", 10)
    ask("all right again", 11, (one, [part(0, 1)]), forgottenTopicsData=forgotten((one, [9])))
    ask("a partition twice", 12, (two, [part(0, 5), part(0, 0)]))
    if version >= 13:
        topics = [{"topicId": UNKNOWN_ID, "partitions": [part()]}]
        ask("an unknown id", 13, topics=topics)
        ask("an unknown id is told again", 14)
        gone = [{"topicId": UNKNOWN_ID, "partitions": [0]}]
        ask("it is forgotten", 15, forgottenTopicsData=gone)
        by_name = fetch((one, [part()])) | {"sessionId": f"<{session}>", "sessionEpoch": 16}
        s.ask(f"by name in a session by id, v{version}", "Fetch", by_name, 12)
        ask("and on", 16)
        last = 17
    else:
        ask("an unknown topic", 13, (s.named("nope"), [part()]))
        ask("an unknown topic is told again", 14)
        ask("it is forgotten", 15, forgottenTopicsData=forgotten((s.named("nope"), [0])))
        by_id = fetch((one, [part()])) | {"sessionId": f"<{session}>", "sessionEpoch": 16}
        s.ask(f"by id in a session by name, v{version}", "Fetch", by_id, 13)
        ask("and on", 16)
        last = 17
    ask("all forgotten", last, forgottenTopicsData=forgotten((one, [0]), (two, [0])))
    ask("it has ended", last + 1)
    s.ask("another begins", "Fetch", begin, version, bind={"sessionId": session})
    ask("it ends itself", -1, (one, [part()]))
    ask("it has ended, too", 1)


@scene
def fetch_session_of_a_topic_made_again(s: Scene) -> None:
    """An error is told at once, also where a long poll would wait."""
    for version in (12, 13, 18):
        idle, gone = s.topic(f"idle{version}"), s.topic(f"gone{version}")
        begin = fetch((idle, [part()]), (gone, [part()])) | {"sessionEpoch": 0}
        session = f"session {version}"
        s.ask("begins", "Fetch", begin, version, bind={"sessionId": session})
        s.do("DeleteTopics", {"topics": [{"name": gone}], "timeoutMs": 30_000}, 6)
        s.topic(f"gone{version}")
        for epoch in (1, 2):
            request = fetch() | {"sessionId": f"<{session}>", "sessionEpoch": epoch, "maxWaitMs": 60_000}
            if version >= 13:
                s.ask(f"told at once, {epoch}", "Fetch", request, version, patience=5.0)
        s.do("DeleteTopics", {"topics": [{"name": gone}], "timeoutMs": 30_000}, 6)
        epoch = 3 if version >= 13 else 1
        request = fetch() | {"sessionId": f"<{session}>", "sessionEpoch": epoch, "maxWaitMs": 700}
        s.ask("gone for good", "Fetch", request, version, patience=5.0)
