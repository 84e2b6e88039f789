"""The generator's union of two releases, on small definitions."""

from __future__ import annotations

import json
import zipfile

import pytest

from tools.kafka_schema import load_jar, parse_versions
from tools.merge_schema import Union
from tools.names import class_names, module_name, snake
from tools.write_messages import write_module


def jar(path, *definitions):
    with zipfile.ZipFile(path, "w") as out:
        for d in definitions:
            out.writestr(f"common/message/{d['name']}.json", "// a comment\n" + json.dumps(d))
    return load_jar(path)


def request(fields, valid, **facts):
    return {
        "name": "PingRequest",
        "type": "request",
        "apiKey": 9,
        "validVersions": valid,
        "fields": fields,
        **facts,
    }


def field(name, versions="0+", kind="int32", **facts):
    return {"name": name, "type": kind, "versions": versions, "about": "prose", **facts}


@pytest.fixture
def merge(tmp_path):
    def run(new, old):
        return Union(jar(tmp_path / "new.jar", *new), jar(tmp_path / "old.jar", *old))

    return run


def test_a_field_that_the_newer_release_dropped_comes_back_in_its_place(merge):
    union = merge(
        [request([field("First"), field("Last")], "2-3", flexibleVersions="3+")],
        [request([field("First"), field("Gone", "0-1"), field("Last", "1+")], "0-2")],
    )
    ping = union.messages["PingRequest"]
    assert ping.versions == {0, 1, 2, 3}
    assert [(f.name, sorted(f.versions)) for f in ping.structs["PingRequest"]] == [
        ("First", [0, 1, 2, 3]),
        ("Gone", [0, 1]),
        ("Last", [1, 2, 3]),
    ]
    assert union.disagreements == []


def test_a_renamed_field_keeps_its_newest_name_and_is_listed(merge):
    union = merge([request([field("NewName")], "0-1")], [request([field("OldName")], "0-1")])
    assert [f.name for f in union.messages["PingRequest"].structs["PingRequest"]] == ["NewName"]
    assert union.disagreements == ["PingRequest.NewName: called OldName in the older; the newer name is kept"]


def test_the_newer_release_wins_and_the_disagreement_is_listed(merge):
    union = merge(
        [request([field("A", default="1"), field("B")], "0")],
        [request([field("A", default="2")], "0")],
    )
    assert [f.default for f in union.messages["PingRequest"].structs["PingRequest"]] == [1, 0]
    assert union.disagreements == [
        "PingRequest.A: default is 1 in the newer, 2 in the older",
        "PingRequest.B: versions 0 have it in the newer only",
    ]


def test_a_message_that_the_newer_release_removed_is_kept(merge):
    removed = {"name": "PingRequest", "type": "request", "apiKey": 9, "validVersions": "none"}
    union = merge([removed], [request([field("A")], "0-2")])
    assert union.messages["PingRequest"].versions == {0, 1, 2}


def test_a_gap_in_the_versions_stops_the_generator(merge):
    with pytest.raises(ValueError, match="PingRequest: the message has a gap"):
        merge([request([], "4")], [request([], "0-2")])


def test_no_prose_reaches_the_generated_text(merge):
    union = merge([request([field("A")], "0")], [])
    text = write_module([union.messages["PingRequest"]])
    assert "prose" not in text
    assert "a comment" not in text
    assert 'Field("a", "int32", "0+", 0)' in text


def test_structs_of_one_name_in_one_module_are_prefixed(merge):
    inner = field("Items", kind="[]Item", fields=[field("X")])
    response = {**request([inner], "0"), "name": "PingResponse", "type": "response"}
    messages = list(merge([request([inner], "0"), response], []).messages.values())
    assert {module_name(m) for m in messages} == {"ping"}
    names = class_names(messages)
    assert names["PingRequest", "Item"] == "PingRequestItem"
    assert names["PingResponse", "Item"] == "PingResponseItem"


def test_names_become_snake_case():
    assert snake("TimeoutMs") == "timeout_ms"
    assert snake("isKRaftController") == "is_kraft_controller"
    assert snake("V3AndBelowTopics") == "v3_and_below_topics"
    assert snake("Enable2Pc") == "enable_2pc"
    assert snake("Class") == "class_"


def test_versions_are_cut_to_those_of_the_message():
    assert parse_versions("3+", {1, 2, 3, 4}) == {3, 4}
    assert parse_versions("0-2", {1, 2, 3}) == {1, 2}
    assert parse_versions("none", {1}) == parse_versions(None, {1}) == set()
