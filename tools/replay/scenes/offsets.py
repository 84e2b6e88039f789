"""ListOffsets, OffsetForLeaderEpoch, OffsetCommit, OffsetFetch, OffsetDelete."""

from __future__ import annotations

from typing import Any

from tools.replay.scene import TIME, Scene, scene
from tools.replay.scenes.topics import UNKNOWN_ID, ZERO_ID


def _listed(*parts: tuple[str, int, int], **more: Any) -> dict[str, Any]:
    topics: list[dict[str, Any]] = []
    for name, index, time in parts:
        if not topics or topics[-1]["name"] != name:
            topics.append({"name": name, "partitions": []})
        topics[-1]["partitions"].append(
            {"partitionIndex": index, "timestamp": time, "maxNumOffsets": 10} | more
        )
    return {"replicaId": -1, "topics": topics, "timeoutMs": 5_000}


@scene
def list_offsets(s: Scene) -> None:
    one, empty = s.topic("one", 2), s.topic("empty")
    for index in range(3):
        s.produce(one, "a", "b", time=TIME + 1000 * index)
    nope = s.named("nope")

    def ask(label: str, *parts: tuple[str, int, int], versions: Any = None, **more: Any) -> None:
        s.ask(label, "ListOffsets", _listed(*parts, **more), versions)

    for time in range(-1, -8, -1):
        ask(f"time {time}", (one, 0, time))
        ask(f"time {time}, empty", (empty, 0, time))
    some = (1, 4, 7, 11)
    for time in (0, TIME, TIME + 1, TIME + 1999, TIME + 2000, TIME + 2001, 2**63 - 1):
        ask(f"time {time}", (one, 0, time), versions=some)
    ask("time 0, empty", (empty, 0, 0), versions=some)
    ask("lowest", (one, 0, -(2**63)), versions=some)
    ask("unknown partition", (one, 2, -1), versions=some)
    ask("negative partition", (one, -1, -1), versions=some)
    ask("not there", (nope, 0, -1), versions=some)
    ask("not there, lowest", (nope, 0, -(2**63)), versions=some)
    ask("not there, -9", (nope, 0, -9), versions=some)
    ask("not there, -4", (nope, 0, -4), versions=some)
    ask("bad name", ("a b", 0, -1), versions=some)
    ask("twice", (one, 0, -1), (one, 0, -2), versions=some)
    ask("twice the same", (one, 0, -1), (one, 0, -1), (one, 1, -1), versions=some)
    ask("twice in two topics", (one, 0, -1), (empty, 0, -1), (one, 0, -2), versions=some)
    ask("a topic twice", (one, 0, -1), (empty, 0, -1), (one, 1, -1), versions=some)
    ask("twice, not there", (nope, 0, -1), (nope, 0, -1), versions=some)
    for epoch in (0, 1, 9, -2):
        ask(f"epoch {epoch}", (one, 0, -1), versions=(4, 7, 11), currentLeaderEpoch=epoch)
        ask(f"epoch {epoch}, by time", (one, 0, TIME), versions=(4, 11), currentLeaderEpoch=epoch)
    s.ask("nothing", "ListOffsets", _listed())
    s.ask("no partitions", "ListOffsets", {"replicaId": -1, "topics": [{"name": one}]}, some)
    for level in (1, 2, -1):
        s.ask(
            f"isolation {level}", "ListOffsets", _listed((one, 0, -1)) | {"isolationLevel": level}, some[1:]
        )
    for replica in (0, 5, -2, -3):
        s.ask(f"replica {replica}", "ListOffsets", _listed((one, 0, -1)) | {"replicaId": replica}, some)
    for timeout in (0, -1):
        request = _listed((one, 0, TIME)) | {"timeoutMs": timeout}
        s.ask(f"timeout {timeout}", "ListOffsets", request, (10, 11))


@scene
def offset_for_leader_epoch(s: Scene) -> None:
    one = s.topic("one", 2)
    s.produce(one, "a", "b")

    def ask(label: str, *parts: tuple[str, int, int, int], versions: Any = None, **more: Any) -> None:
        topics = [
            {
                "topic": name,
                "partitions": [{"partition": index, "leaderEpoch": epoch, "currentLeaderEpoch": current}],
            }
            for name, index, epoch, current in parts
        ]
        s.ask(label, "OffsetForLeaderEpoch", {"replicaId": -1, "topics": topics} | more, versions)

    for epoch in (0, 1, -1, -2, 2**31 - 1):
        ask(f"epoch {epoch}", (one, 0, epoch, -1))
    for current in (0, 1, -2):
        ask(f"current {current}", (one, 0, 0, current), versions=(2, 3, 4))
    some = (2, 4)
    ask("empty log", (one, 1, 0, -1), versions=some)
    ask("unknown partition", (one, 9, 0, -1), versions=some)
    ask("negative partition", (one, -1, 0, -1), versions=some)
    ask("not there", (s.named("nope"), 0, 0, -1), versions=some)
    ask("twice", (one, 0, 0, -1), (one, 0, 1, -1), versions=some)
    ask("a topic twice", (one, 0, 0, -1), (one, 1, 0, -1), versions=some)
    ask("nothing", versions=None)
    for replica in (0, 5, -2):
        ask(f"replica {replica}", (one, 0, 0, -1), versions=(3, 4), replicaId=replica)


def _committed(group: str, *parts: tuple[str, int, int, str | None], **more: Any) -> dict[str, Any]:
    topics: list[dict[str, Any]] = []
    for name, index, offset, text in parts:
        if not topics or topics[-1]["name"] != name:
            topics.append({"name": name, "topicId": f"<id of {name}>", "partitions": []})
        topics[-1]["partitions"].append(
            {"partitionIndex": index, "committedOffset": offset, "committedMetadata": text}
        )
    return {"groupId": group, "topics": topics} | more


@scene
def offset_commit(s: Scene) -> None:
    one, two = s.topic("one", 3), s.topic("two")
    group, nope = s.named("group"), s.named("nope")
    by_name = range(2, 10)

    def ask(label: str, *parts: tuple[str, int, int, str | None], versions: Any = None, **more: Any) -> None:
        s.ask(label, "OffsetCommit", _committed(more.pop("group", group), *parts, **more), versions)

    ask("one", (one, 0, 5, "m"))
    some = (2, 8, 9, 10)
    ask("a partition twice", (one, 0, 6, "a"), (one, 0, 7, "b"), versions=some)
    ask("a topic twice", (one, 0, 8, "a"), (two, 0, 7, "b"), (one, 1, 9, "c"), versions=some)
    ask("unknown partition", (one, 3, 5, ""), versions=some)
    ask("negative partition", (one, -1, 5, ""), versions=some)
    ask("not there", (nope, 0, 5, ""), versions=by_name)
    ask("bad name", ("a b", 0, 5, ""), versions=(2, 8, 9))
    ask("one right, two not", (one, 1, 3, ""), (one, 9, 3, ""), (nope, 0, 3, ""), versions=(2, 8, 9))
    for offset in (-1, -2, -(2**63), 2**63 - 1):
        ask(f"offset {offset}", (one, 2, offset, ""), versions=some)
    ask("null text", (one, 0, 5, None), versions=some)
    for told, text in (
        ("4096 letters", "x" * 4096),
        ("4097 letters", "x" * 4097),
        ("4096 umlauts", "ä" * 4096),
        ("2048 of two units", "\U0001f600" * 2048),
        ("2049 of two units", "\U0001f600" * 2049),
        ("4096 of two units", "\U0001f600" * 4096),
    ):
        ask(told, (one, 1, 1, text), versions=(2, 8, 9, 10))
    ask("nothing")
    s.ask(
        "no partitions",
        "OffsetCommit",
        {"groupId": group, "topics": [{"name": one, "topicId": s.id(one)}]},
        some,
    )
    ask("empty group", (one, 0, 5, ""), group="", versions=some)
    nobody = {"groupId": "", "memberId": "x", "generationId": 1}
    s.ask("empty group: heartbeat", "Heartbeat", nobody, (0, 4))
    s.ask("empty group: sync", "SyncGroup", nobody, (0, 3, 5))
    leave = {"groupId": "", "memberId": "x", "members": [{"memberId": "x"}]}
    s.ask("empty group: leave", "LeaveGroup", leave, (0, 5))
    s.ask("empty group: describe", "DescribeGroups", {"groups": [""]}, (0, 6))
    ask("generation without members", (one, 0, 5, ""), versions=some, generationIdOrMemberEpoch=3)
    ask("generation -2", (one, 0, 5, ""), versions=some, generationIdOrMemberEpoch=-2)
    ask("generation 0", (one, 0, 5, ""), versions=some, generationIdOrMemberEpoch=0)
    ask("member without generation", (one, 0, 5, ""), versions=some, memberId="somebody")
    ask("member of nobody", (one, 0, 5, ""), versions=some, memberId="x", generationIdOrMemberEpoch=1)
    ask(
        "a new group's member",
        (one, 0, 5, ""),
        versions=some,
        group=s.named("new"),
        memberId="x",
        generationIdOrMemberEpoch=1,
    )
    ask("instance", (one, 0, 5, ""), versions=(7, 8, 9, 10), groupInstanceId="i")
    ask("retention", (one, 0, 5, ""), versions=(2, 3, 4), retentionTimeMs=1)
    ask("retention -2", (one, 0, 5, ""), versions=(2, 3, 4), retentionTimeMs=-2)
    for id, told in ((UNKNOWN_ID, "unknown id"), (ZERO_ID, "no id")):
        entry = {"topicId": id, "partitions": [{"partitionIndex": 0, "committedOffset": 1}]}
        s.ask(told, "OffsetCommit", {"groupId": group, "topics": [entry]}, 10)
    whole = {"groupId": group, "topics": None, "groups": [{"groupId": group, "topics": None}]}
    s.ask("all that is kept", "OffsetFetch", whole, (2, 5, 7, 8, 9, 10))


@scene
def offset_fetch(s: Scene) -> None:
    one, two = s.topic("one", 3), s.topic("two")
    group, nope = s.named("group"), s.named("nope")
    s.do("OffsetCommit", _committed(group, (one, 0, 5, "m"), (one, 1, 6, ""), (two, 0, 7, "")), 9)

    def asked(group: str, *topics: tuple[str, list[int]]) -> dict[str, Any]:
        entries = [
            {"name": name, "topicId": f"<id of {name}>", "partitionIndexes": parts} for name, parts in topics
        ]
        return {"groupId": group, "topics": entries}

    def ask(
        label: str, *topics: tuple[str, list[int]], of: str = group, versions: Any = range(1, 11)
    ) -> None:
        one_group = asked(of, *topics)
        old = one_group | {"topics": [_nameable(entry) for entry in one_group["topics"]]}
        for version in versions:
            request = {"groups": [one_group]} if version >= 8 else old
            s.ask(label, "OffsetFetch", request, version)

    some = (1, 2, 5, 7, 8, 9, 10)
    ask("some", (one, [0, 1, 2]))
    ask("a partition twice", (one, [0, 0]), versions=some)
    ask("a topic twice", (one, [0]), (two, [0]), (one, [1]), versions=some)
    ask("unknown partitions", (one, [9, -1, 2**31 - 1]), versions=some)
    ask("not there", (nope, [0]), versions=some[:-1])
    ask("bad name", ("a b", [0]), versions=some[:-1])
    ask("no partitions", (one, []), versions=some)
    ask("no topics", versions=some)
    ask("of nobody", (one, [0]), of=s.named("nobody"), versions=some)
    ask("of an empty id", (one, [0]), of="", versions=some)
    whole = {"groupId": group, "topics": None, "groups": [{"groupId": group, "topics": None}]}
    s.ask("all", "OffsetFetch", whole, range(2, 11))
    nobody = s.named("nobody")
    none = {"groupId": nobody, "topics": None, "groups": [{"groupId": nobody, "topics": None}]}
    s.ask("all of nobody", "OffsetFetch", none, some[1:])
    groups = {
        "no groups": [],
        "a group twice": [asked(group, (one, [0])), asked(group, (two, [0]))],
        "two groups": [asked(group, (one, [0])), {"groupId": nobody, "topics": None}],
        "one all and some": [{"groupId": group, "topics": None}, asked(group, (one, [0]))],
    }
    for told, entries in groups.items():
        s.ask(told, "OffsetFetch", {"groups": entries}, (8, 9, 10))
    for member, epoch in (("x", 3), ("x", -1), ("", 0), (None, 3), ("x", -2)):
        entry = asked(group, (one, [0])) | {"memberId": member, "memberEpoch": epoch}
        s.ask(f"member {member} epoch {epoch}", "OffsetFetch", {"groups": [entry]}, (9, 10))
    s.ask("stable", "OffsetFetch", {"groups": [asked(group, (one, [0]))], "requireStable": True}, (8, 9, 10))
    for id, told in ((UNKNOWN_ID, "unknown id"), (ZERO_ID, "no id")):
        topics = [{"topicId": id, "partitionIndexes": [0, 1]}]
        s.ask(told, "OffsetFetch", {"groups": [{"groupId": group, "topics": topics}]}, 10)


def _nameable(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "topicId"}


@scene
def offset_delete(s: Scene) -> None:
    one = s.topic("one", 3)
    group, nope = s.named("group"), s.named("nope")
    s.do("OffsetCommit", _committed(group, (one, 0, 5, ""), (one, 1, 6, "")), 9)

    def ask(label: str, *topics: tuple[str, list[int]], of: str = group) -> None:
        entries = [
            {"name": name, "partitions": [{"partitionIndex": index} for index in parts]}
            for name, parts in topics
        ]
        s.ask(label, "OffsetDelete", {"groupId": of, "topics": entries})

    ask("nothing")
    ask("no partitions", (one, []))
    ask("of nobody", (one, [0]), of=s.named("nobody"))
    ask("of an empty id", (one, [0]), of="")
    ask("unknown partitions", (one, [9, -1]))
    ask("not there", (nope, [0]))
    ask("bad name", ("a b", [0]))
    ask("not committed", (one, [2]))
    ask("twice", (one, [0, 0]))
    ask("a topic twice", (one, [0]), (one, [1]))
    ask("the group is gone with them", (one, [0]))
