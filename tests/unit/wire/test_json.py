"""Messages as JSON, by Kafka's conventions."""

from __future__ import annotations

import json

import pytest

from kgw_core import wire
from kgw_core.errors import UnsupportedVersion
from kgw_core.wire.json import from_json, to_json
from kgw_core.wire.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData
from kgw_core.wire.messages.heartbeat import HeartbeatRequest


def test_bytes_are_base64_and_a_uuid_is_url_safe():
    partition = PartitionData(records=[b"\xfb\xff", b"\xff"])
    message = FetchResponse(responses=[FetchableTopicResponse(topic_id=b"\xff" * 16, partitions=[partition])])
    value = to_json(message, 13)
    json.dumps(value)
    (topic,) = value["responses"]
    assert topic["topicId"] == "_____________________w"
    assert topic["partitions"][0]["records"] == "+///"
    assert from_json(FetchResponse, value, 13) == FetchResponse(
        responses=[
            FetchableTopicResponse(topic_id=b"\xff" * 16, partitions=[PartitionData(records=b"\xfb\xff\xff")])
        ]
    )


def test_a_field_that_the_version_lacks_is_left_out_or_refused():
    assert "groupInstanceId" not in to_json(HeartbeatRequest(), 0)
    with pytest.raises(UnsupportedVersion, match="HeartbeatRequest v0 has no place for group_instance_id"):
        to_json(HeartbeatRequest(group_instance_id="i"), 0)


def test_a_name_too_few_or_too_many_is_refused():
    value = to_json(HeartbeatRequest(), 4)
    with pytest.raises(ValueError, match="HeartbeatRequest v4 does not have groupID"):
        from_json(HeartbeatRequest, {**value, "groupID": "g"}, 4)
    del value["groupId"]
    with pytest.raises(ValueError, match="HeartbeatRequest v4: groupId is missing"):
        from_json(HeartbeatRequest, value, 4)


def test_renamed_fields_have_their_newest_name():
    cls = wire.message("TxnOffsetCommitRequest")
    assert "generationIdOrMemberEpoch" in to_json(cls(), 3)
