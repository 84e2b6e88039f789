"""Groups of the classic protocol: strange members, empty and double names, and who looks at groups."""

from __future__ import annotations

from typing import Any

from tools.replay.scene import Scene, coded, scene

RANGE = [{"name": "range", "metadata": coded(b"r")}]


def _join(group: str, **more: Any) -> dict[str, Any]:
    return {
        "groupId": group,
        "sessionTimeoutMs": 10_000,
        "rebalanceTimeoutMs": 10_000,
        "protocolType": "consumer",
        "protocols": RANGE,
    } | more


@scene
def find_coordinator(s: Scene) -> None:
    group = s.named("group")
    for kind in (0, 1, 2, 9, -1):
        for keys in ([group], [""], [group, group], [group, "", s.named("other")]):
            request = {"keyType": kind, "key": keys[-1], "coordinatorKeys": keys}
            versions = (4, 5, 6) if len(keys) > 1 else range(1, 7)
            if kind != 1:  # Kafka makes a topic for transactions then
                s.ask(
                    f"type {kind}, {len(keys)} ending in '{keys[-1]}'", "FindCoordinator", request, versions
                )
    s.ask("none", "FindCoordinator", {"coordinatorKeys": []}, (4, 5, 6))
    s.ask("v0", "FindCoordinator", {"key": group}, 0)


@scene
def join_group_refused(s: Scene) -> None:
    group = s.named("group")
    some = (2, 4, 5, 7, 9)

    def ask(label: str, versions: Any = some, **more: Any) -> None:
        s.ask(label, "JoinGroup", _join(more.pop("of", group), **more), versions)

    ask("empty id", of="", versions=range(2, 10))
    ask("unknown member", memberId="x", versions=range(2, 10))
    ask("session too short", sessionTimeoutMs=1)
    ask("session too long", sessionTimeoutMs=2**31 - 1)
    ask("session 0", sessionTimeoutMs=0)
    ask("session negative", sessionTimeoutMs=-1)
    ask("no protocols", protocols=[])
    ask("no type", protocolType="")
    ask("neither", protocolType="", protocols=[])
    ask("empty protocol", protocols=[{"name": "", "metadata": ""}], memberId="x")
    ask("a protocol twice", protocols=RANGE + RANGE, memberId="x")
    ask("empty instance", versions=(5, 7, 9), groupInstanceId="", memberId="x")
    ask("instance with blanks", versions=(5, 7, 9), groupInstanceId="a b", memberId="x")
    ask("instance of 250", versions=(5, 7, 9), groupInstanceId="x" * 250, memberId="x")
    ask("unknown member of an instance", versions=(5, 7, 9), groupInstanceId="i", memberId="x")
    ask("a blank id", of=" ", memberId="x")
    for version in (4, 5, 7, 9):
        s.ask("needs a member id", "JoinGroup", _join(group), version, bind={"memberId": f"member {version}"})


@scene
def group_of_one(s: Scene) -> None:
    group = s.named("group")
    s.ask("joins", "JoinGroup", _join(group), 9, bind={"memberId": "member"})
    s.ask("another type", "JoinGroup", _join(group, protocolType="connect"), (4, 9))
    s.ask("joins with its id", "JoinGroup", _join(group, memberId="<member>"), 9)
    s.ask("before it has synced", "DescribeGroups", {"groups": [group]}, (0, 5, 6))

    def each(label: str, member: str, generation: int, instance: str | None = None) -> None:
        who = {"groupId": group, "memberId": member, "generationId": generation, "groupInstanceId": instance}
        s.ask(f"{label}: heartbeat", "Heartbeat", who, (0, 2, 3, 4))
        entry = {"memberId": member, "groupInstanceId": instance}
        if generation != 1 or member != "<member>":
            s.ask(f"{label}: sync", "SyncGroup", who, (0, 2, 3, 5))
            s.ask(
                f"{label}: leave",
                "LeaveGroup",
                {"groupId": group, "members": [entry], "memberId": member},
                (0, 2, 3, 5),
            )

    each("unknown", "x", 1)
    each("no member", "", 1)
    each("old generation", "<member>", 0)
    each("next generation", "<member>", 2)
    each("no generation", "<member>", -1)
    each("unknown instance", "<member>", 1, "i")
    each("unknown instance and member", "x", 1, "i")
    each("unknown instance alone", "", 1, "i")
    each("right", "<member>", 1)
    sync = {
        "groupId": group,
        "generationId": 1,
        "memberId": "<member>",
        "protocolType": "consumer",
        "protocolName": "range",
        "assignments": [
            {"memberId": "<member>", "assignment": coded(b"first")},
            {"memberId": "x", "assignment": coded(b"nobody's")},
            {"memberId": "<member>", "assignment": coded(b"second")},
        ],
    }
    s.ask("sync with another type", "SyncGroup", sync | {"protocolType": "connect"}, 5)
    s.ask("sync with another protocol", "SyncGroup", sync | {"protocolName": "other"}, 5)
    s.ask("sync names members twice, and one that is not there", "SyncGroup", sync, 5)
    s.ask("sync again", "SyncGroup", sync | {"assignments": []}, (0, 3, 5))
    each("synced, right", "<member>", 1)
    each("synced, old", "<member>", 0)
    s.ask("described", "DescribeGroups", {"groups": [group, group]}, (0, 4, 5, 6))
    s.ask("deleted", "DeleteGroups", {"groupsNames": [group, group]}, (0, 2))
    odd = [
        {"memberId": "x", "groupInstanceId": None},
        {"memberId": "", "groupInstanceId": "i"},
        {"memberId": "", "groupInstanceId": None},
        {"memberId": "<member>", "groupInstanceId": "i"},
    ]
    s.ask("odd ones leave", "LeaveGroup", {"groupId": group, "members": odd}, (3, 4, 5))
    s.ask("nobody leaves", "LeaveGroup", {"groupId": group, "members": []}, (3, 4, 5))
    twice = [{"memberId": "<member>"}, {"memberId": "<member>"}]
    s.ask("leaves twice in one", "LeaveGroup", {"groupId": group, "members": twice}, 5)
    s.ask("described when empty", "DescribeGroups", {"groups": [group]}, (0, 5, 6))
    each("gone", "<member>", 1)
    s.ask("deleted when empty", "DeleteGroups", {"groupsNames": [group]}, 2)


@scene
def group_of_an_instance(s: Scene) -> None:
    group = s.named("group")
    static = _join(group, groupInstanceId="i")
    s.ask("joins", "JoinGroup", static, 9, bind={"memberId": "first"})
    mine = {"groupId": group, "generationId": 1, "memberId": "<first>", "groupInstanceId": "i"}
    assignment = [{"memberId": "<first>", "assignment": coded(b"all")}]
    of = {"protocolType": "consumer", "protocolName": "range"}
    s.ask("syncs", "SyncGroup", mine | of | {"assignments": assignment}, 5)
    s.ask("comes back", "JoinGroup", static, 9, bind={"memberId": "second"})
    s.ask("the old one lives", "Heartbeat", mine, (3, 4))
    s.ask("the old one syncs", "SyncGroup", mine | of, (3, 5))
    s.ask("the old one joins", "JoinGroup", static | {"memberId": "<first>"}, (5, 9))
    entry = {"memberId": "<first>", "groupInstanceId": "i"}
    s.ask("the old one leaves", "LeaveGroup", {"groupId": group, "members": [entry]}, (3, 5))
    s.ask("the old one without its instance", "Heartbeat", mine | {"groupInstanceId": None}, (3, 4))
    s.ask("the new one syncs", "SyncGroup", mine | of | {"memberId": "<second>"}, 5)
    s.ask(
        "the new one without its instance",
        "Heartbeat",
        mine | {"memberId": "<second>", "groupInstanceId": None},
        4,
    )
    s.ask("another instance", "Heartbeat", mine | {"memberId": "<second>", "groupInstanceId": "j"}, 4)
    s.ask("described", "DescribeGroups", {"groups": [group]}, (4, 6))
    leaves = {"groupId": group, "members": [{"memberId": "", "groupInstanceId": "i"}] * 2}
    s.ask("leaves by its instance, twice in one", "LeaveGroup", leaves, 5)


@scene
def groups_that_are_not_there(s: Scene) -> None:
    group = s.named("group")
    who = {"groupId": group, "memberId": "x", "generationId": 1}
    for id in (group, ""):
        told = "unknown" if id else "empty"
        s.ask(f"{told}: heartbeat", "Heartbeat", who | {"groupId": id})
        s.ask(f"{told}: sync", "SyncGroup", who | {"groupId": id})
        leave = {"groupId": id, "memberId": "x", "members": [{"memberId": "x"}, {"memberId": "x"}]}
        s.ask(f"{told}: leave", "LeaveGroup", leave)
        s.ask(f"{told}: describe", "DescribeGroups", {"groups": [id, id]})
        s.ask(f"{told}: delete", "DeleteGroups", {"groupsNames": [id]})
        s.ask(f"{told}: delete twice", "DeleteGroups", {"groupsNames": [id, id]})
    s.ask("describe nothing", "DescribeGroups", {"groups": []})
    s.ask(
        "describe with operations", "DescribeGroups", {"groups": [group], "includeAuthorizedOperations": True}
    )
    s.ask("delete nothing", "DeleteGroups", {"groupsNames": []})


@scene
def list_groups(s: Scene) -> None:
    group = s.named("group")
    s.ask("joins", "JoinGroup", _join(group, groupInstanceId="i"), 9)
    topic = s.topic("one")
    part = {"partitionIndex": 0, "committedOffset": 1}
    s.do(
        "OffsetCommit",
        {"groupId": s.named("simple"), "topics": [{"name": topic, "partitions": [part]}]},
        9,
    )

    def ask(label: str, versions: Any = None, **request: Any) -> None:
        s.ask(label, "ListGroups", request, versions, mine=True)

    ask("all")
    for state in (
        "Empty",
        "empty",
        "EMPTY",
        "Stable",
        "CompletingRebalance",
        "completingrebalance",
        "foo",
        "",
    ):
        ask(f"state {state}", (4, 5), statesFilter=[state])
    ask("two states", (4, 5), statesFilter=["Empty", "CompletingRebalance"])
    ask("a state twice, and an unknown one", (4, 5), statesFilter=["Empty", "Empty", "foo"])
    for kind in ("classic", "Classic", "CLASSIC", "consumer", "share", "foo", ""):
        ask(f"type {kind}", (5,), typesFilter=[kind])
    ask("type and state", (5,), typesFilter=["classic"], statesFilter=["Empty"])
