"""Encoding: values that are valid, values that are refused, and their bytes."""

from __future__ import annotations

import pytest

from kgw_core import wire
from kgw_core.errors import UnsupportedVersion
from kgw_core.wire import MalformedMessage
from kgw_core.wire.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData
from kgw_core.wire.messages.heartbeat import HeartbeatRequest
from kgw_core.wire.messages.metadata import MetadataRequest
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData


def fetched(*records):
    partitions = [PartitionData(partition_index=i, records=r) for i, r in enumerate(records)]
    return FetchResponse(
        responses=[FetchableTopicResponse(topic="t", topic_id=b"i" * 16, partitions=partitions)]
    )


def test_a_field_the_version_lacks_may_not_be_set():
    with pytest.raises(UnsupportedVersion, match="ProduceRequest v2 has no place for transactional_id"):
        wire.encode(ProduceRequest(transactional_id="t"), 2)
    with pytest.raises(UnsupportedVersion, match="HeartbeatRequest v0 has no place for group_instance_id"):
        wire.encode(HeartbeatRequest(group_instance_id="i"), 0)
    join = wire.message("JoinGroupRequest")
    with pytest.raises(UnsupportedVersion, match="JoinGroupRequest v4 has no place for group_instance_id"):
        wire.encode(join(group_instance_id="i"), 4)


def test_an_ignorable_field_the_version_lacks_is_left_out():
    join = wire.message("JoinGroupRequest")
    assert wire.encode(join(reason="why"), 7) == wire.encode(join(), 7)


def test_null_is_refused_where_the_version_has_none():
    with pytest.raises(MalformedMessage, match="MetadataRequest v0: topics is None"):
        wire.encode(MetadataRequest(topics=None), 0)
    with pytest.raises(MalformedMessage, match=r"HeartbeatRequest v4: member_id is None"):
        wire.encode(HeartbeatRequest(member_id=None), 4)
    topic = TopicProduceData(name=None)
    with pytest.raises(MalformedMessage, match=r"ProduceRequest v3: topic_data\[1\].name is None"):
        wire.encode(ProduceRequest(topic_data=[TopicProduceData(), topic]), 3)


@pytest.mark.parametrize(
    ("message", "version", "told"),
    [
        (
            HeartbeatRequest(generation_id=2**31),
            0,
            "generation_id is 2147483648, not within -2147483648 to 2147483647",
        ),
        (HeartbeatRequest(generation_id="1"), 4, "generation_id is of type str, not an int"),
        (HeartbeatRequest(generation_id=None), 4, "generation_id is None"),
        (HeartbeatRequest(group_id="x" * 32768), 0, "group_id has 32768 bytes, the most is 32767"),
        (HeartbeatRequest(group_id="x" * 32768), 4, "group_id has 32768 bytes, the most is 32767"),
        (HeartbeatRequest(group_id="\ud800"), 4, "group_id cannot be written as UTF-8"),
        (HeartbeatRequest(group_id=7), 4, "group_id is of type int, not a str"),
        (fetched("text"), 12, r"responses\[0\].partitions\[0\].records is of type str, not bytes"),
        (fetched(["text"]), 12, r"records\[0\] is of type str, not bytes"),
        (FetchResponse(responses=[FetchableTopicResponse(topic_id=b"short")]), 13, "topic_id is not a uuid"),
        (FetchResponse(responses=7), 13, "responses is of type int, not a list"),
        (FetchResponse(responses=[PartitionData()]), 13, r"responses\[0\] is a PartitionData, not Fetchable"),
    ],
)
def test_a_value_that_does_not_fit_is_named(message, version, told):
    with pytest.raises(MalformedMessage, match=told):
        wire.encode(message, version)


def test_records_leave_without_a_copy():
    first, second, third = b"a" * 5000, memoryview(b"b" * 6000), bytearray(b"c" * 7000)
    parts = wire.encode_parts(fetched(first, [second, third]), 12)
    assert [part for part in parts if len(part) >= 5000] == [first, second, third]
    assert any(part is first for part in parts)
    assert any(part is second for part in parts)
    assert any(part is third for part in parts)
    assert len(parts) == 6, "what lies before, between and after them is joined"
    assert b"".join(parts) == wire.encode(fetched(first, bytes(second) + third), 12)


@pytest.mark.parametrize(
    "records", [b"bytes", bytearray(b"bytes"), memoryview(b"bytes"), [b"by", memoryview(b"tes")]]
)
@pytest.mark.parametrize("version", [0, 12, 18])
def test_records_may_be_any_bytes_or_parts_of_them(records, version):
    data = wire.encode(fetched(records), version)
    assert wire.decode(FetchResponse, version, data).responses[0].partitions[0].records == b"bytes"


def test_records_decode_to_a_view_of_the_frame():
    data = bytearray(wire.encode(ProduceRequest(topic_data=[TopicProduceData("t", partition_data=[
        PartitionProduceData(0, b"records")])]), 9))  # fmt: skip
    records = wire.decode(ProduceRequest, 9, data).topic_data[0].partition_data[0].records
    assert isinstance(records, memoryview)
    at = data.index(b"records")
    data[at] = ord("R")
    assert records == b"Records"


def test_empty_records_are_not_null():
    for version in (0, 12):
        for records in (b"", None):
            data = wire.encode(fetched(records), version)
            assert wire.decode(FetchResponse, version, data).responses[0].partitions[0].records == records


def test_a_long_string_and_a_long_array_take_longer_lengths():
    cls = wire.message("MetadataRequest")
    from kgw_core.wire.messages.metadata import MetadataRequestTopic

    for count in (0, 1, 126, 127, 128, 20000):
        message = cls(topics=[MetadataRequestTopic(name="n" * (count % 300)) for _ in range(count)])
        for version in (1, 9, 13):
            assert wire.decode(cls, version, wire.encode(message, version)) == message
    for length in (126, 127, 128, 16382, 16383, 32767):
        beat = HeartbeatRequest(group_id="g" * length)
        assert wire.decode(HeartbeatRequest, 4, wire.encode(beat, 4)) == beat


def test_the_client_id_of_a_flexible_header_is_a_classic_string():
    header = wire.message("RequestHeader")(0, 9, 7, "me")
    assert wire.encode(header, 2) == b"\0\0\0\x09\0\0\0\x07\0\x02me\0"
    header.client_id = None
    assert wire.encode(header, 2) == b"\0\0\0\x09\0\0\0\x07\xff\xff\0"
