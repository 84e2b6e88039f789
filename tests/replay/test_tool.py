"""The replay's own parts: it sees what differs, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.replay.comparing import ANSWER, NOTHING, Difference, comparable, differences
from tools.replay.meant import MEANT, Meant
from tools.replay.playing import Player, SetUpFailed
from tools.replay.recording import Recording, load, save
from tools.replay.scene import Scene, fitted


def apart(theirs: Any, ours: Any, ordered: bool = False) -> list[tuple[str, Any, Any]]:
    found = differences("x", comparable(theirs), comparable(ours), ordered=ordered)
    return [(each.path, each.theirs, each.ours) for each in found]


@pytest.mark.parametrize(
    ("theirs", "ours", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", 1, 2)]),
        ({"a": None}, {"a": 0}, [("a", None, 0)]),
        ({"a": {"b": 1}}, {"a": None}, [("a", {"b": 1}, None)]),
        ({"a": [1, 2]}, {"a": [2, 1]}, []),
        ({"a": [1, 2]}, {"a": [1, 2, 2]}, [("a", [1, 2], [1, 2, 2])]),
        ({"a": [{"name": "t", "x": 1}]}, {"a": [{"name": "t", "x": 2}]}, [("a[t].x", 1, 2)]),
        (
            {"a": [{"name": "t"}, {"name": "u"}]},
            {"a": [{"name": "u"}]},
            [("a[t]", {"name": "t"}, NOTHING)],
        ),
        (
            {"a": [{"name": "t"}]},
            {"a": [{"name": "t"}, {"name": "t"}]},
            [("a[t #2]", NOTHING, {"name": "t"})],
        ),
        ({"a": []}, {"a": [{"name": "t"}]}, [("a", [], ["t"])]),
        ({"errorCode": 3, "a": 1}, {"errorCode": 0, "a": 2}, [("errorCode", 3, 0)]),
        ({"": "no answer"}, {"a": 1}, [("", "no answer", ANSWER)]),
        ({"host": "a", "throttleTimeMs": 1}, {"host": "b", "throttleTimeMs": 2}, []),
        ({"errorMessage": "so"}, {"errorMessage": "or so"}, []),
        ({"errorMessage": "so"}, {"errorMessage": None}, [("errorMessage", "text", None)]),
        ({"errorMessage": None}, {"errorMessage": "so"}, []),
        (
            {"id": "m-0f0f0f0f-0a0a-1b1b-2c2c-3d3d3d3d3d3d"},
            {"id": "m-1f0f0f0f-0a0a-1b1b-2c2c-3d3d3d3d3d3d"},
            [],
        ),
        ({"a": "x" * 600}, {"a": "x" * 600}, []),
    ],
)
def test_what_differs(theirs: Any, ours: Any, found: list[tuple[str, Any, Any]]) -> None:
    assert apart(theirs, ours) == found


def test_long_texts_that_differ_far_behind() -> None:
    ((path, theirs, ours),) = apart({"a": "x" * 5000 + "y"}, {"a": "x" * 5000 + "z"})
    assert path == "a" and theirs != ours and len(theirs) < 100


def test_an_order_that_counts() -> None:
    one, other = ({"a": [{"name": name} for name in names]} for names in ("tu", "ut"))
    assert apart(one, other) == []
    assert apart(one, other, ordered=True) == [("a[]", ["t", "u"], ["u", "t"])]
    assert apart({"a": [1, 2]}, {"a": [2, 1]}, ordered=True) == [("a", [1, 2], [2, 1])]


def test_entries_of_others_are_left_out() -> None:
    answer = {"topics": [{"name": "replay-s-a"}, {"name": "replay-t-a"}], "ids": [1]}
    assert comparable(answer, "replay-s-") == {"topics": [{"name": "replay-s-a"}], "ids": [1]}


@pytest.mark.parametrize(
    ("given", "covered"),
    [
        ({}, True),
        ({"label": "s: one*"}, True),
        ({"label": "s: on"}, False),
        ({"path": "a[*].b"}, True),
        ({"path": "a[*].c"}, False),
        ({"theirs": 1, "ours": 2}, True),
        ({"ours": 1}, False),
        ({"theirs": None}, False),
    ],
)
def test_what_a_reason_covers(given: dict[str, Any], covered: bool) -> None:
    found = Difference("s: one, Metadata v4", "a[t].b", 1, 2)
    assert Meant(**({"why": "so", "label": "*"} | given)).covers(found) is covered


def test_every_reason_is_about_something() -> None:
    for each in MEANT:
        assert each.why and each.label.strip("*")


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    answers = {"s: a, Fetch v4": {"x": [1]}, "s: a, Fetch v5": {"x": [1]}, "s: a, Fetch v6": {"x": []}}
    recording = Recording({"Fetch": (4, 18)}, answers, dict(zip(answers, "abc", strict=True)))
    save(tmp_path / "r", recording)
    assert load(tmp_path / "r") == recording
    assert len((tmp_path / "r").read_text().splitlines()) == 3


def test_a_request_has_the_fields_of_its_version() -> None:
    topic = {"name": "t", "topicId": "x"}
    assert fitted("Metadata", {"topics": [topic]}, 1) == {"topics": [{"name": "t"}]}
    assert fitted("Metadata", {"topics": [topic]}, 12)["topics"] == [{"topicId": "x", "name": "t"}]
    with pytest.raises(ValueError, match="has no nmae"):
        fitted("Metadata", {"topics": [{"nmae": "t"}]}, 12)


class Answering:
    """In the place of a broker: it answers with what the test says."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def send(self, client: int, api: str, version: int, request: dict[str, Any]) -> None:
        self.asked.append(request)

    def receive(self, *_: Any) -> dict[str, Any]:
        return self.answers.pop(0)

    def close(self) -> None: ...


def test_what_a_broker_makes_up_has_a_name() -> None:
    scene = Scene("s")
    scene.ask("joins", "JoinGroup", {}, 9, bind={"memberId": "member"})
    scene.ask("lives", "Heartbeat", {"memberId": "<member>"}, 4)
    broker = Answering({"memberId": "m-17", "leader": "m-17"}, {"errorCode": 0, "of": "m-17"})
    answers = Player(broker, {"JoinGroup": (0, 9), "Heartbeat": (0, 4)}).play(scene)  # type: ignore[arg-type]
    assert broker.asked[1]["memberId"] == "m-17"
    assert list(answers.values()) == [
        {"memberId": "<member>", "leader": "<member>"},
        {"errorCode": 0, "of": "<member>"},
    ]


def test_a_scene_that_cannot_be_set_up_says_nothing() -> None:
    scene = Scene("s")
    scene.do("Heartbeat", {}, 4)
    with pytest.raises(SetUpFailed, match="errorCode"):
        Player(Answering({"errorCode": 25}), {"Heartbeat": (0, 4)}).play(scene)  # type: ignore[arg-type]


def test_a_label_is_there_once() -> None:
    scene = Scene("s")
    scene.ask("lives", "Heartbeat", {}, 4)
    with pytest.raises(ValueError, match="two steps"):
        scene.ask("lives", "Heartbeat", {}, 4)
