"""Every advertised version of every API, with requests for existing and for missing things."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from raw import RawClient

from kgw_core import wire
from kgw_core.api import registry
from kgw_core.records import build_batch
from kgw_core.testing.gateway import GatewayProcess, gateway_process
from kgw_core.wire.base import Message, Struct
from kgw_core.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest
from kgw_core.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicState
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from kgw_core.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

UNKNOWN_SERVER_ERROR = -1


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Its log must have no traceback at the end, which `gateway_process` sees to."""
    with gateway_process(tmp_path_factory.mktemp("versions")) as process:
        yield process


def versions(*names: str) -> list[tuple[str, int]]:
    """All served versions of these APIs, or of all."""
    return [
        (api.name, version)
        for api in registry.load().values()
        if not names or api.name in names
        for version in range(api.versions[0], api.versions[1] + 1)
    ]


def within(version: int, text: str) -> bool:
    """Whether Kafka's notation ("3+", "0-2", "7") means this version too."""
    first, _, last = text.removesuffix("+").partition("-")
    if text.endswith("+"):
        return version >= int(first)
    return int(first) <= version <= int(last or first)


def filled(kind: type[Struct], version: int, topic: str, topic_id: bytes) -> Any:
    """One of everything: each array has an element, each string is the topic's name."""
    message = kind()
    for field, slot in zip(kind.SCHEMA, kind.__slots__, strict=True):
        if not within(version, field.versions) or field.tagged:
            continue
        of = field.type.removeprefix("[]")
        if of == "string":
            value: Any = topic
        elif of == "uuid":
            value = topic_id
        elif of[0].isupper():
            value = filled(getattr(sys.modules[kind.__module__], of), version, topic, topic_id)
        else:
            if field.type.startswith("[]"):
                setattr(message, slot, [0])
            continue
        setattr(message, slot, [value] if field.type.startswith("[]") else value)
    return message


def error_codes(part: Any) -> list[int]:
    """All error codes in an answer, wherever they are."""
    if isinstance(part, list):
        return [code for item in part for code in error_codes(item)]
    if not isinstance(part, Struct):
        return []
    own = [part.error_code] if "error_code" in type(part).__slots__ else []
    return own + [code for slot in type(part).__slots__ for code in error_codes(getattr(part, slot))]


def request_of(api: str) -> type[Message]:
    return wire.message(f"{api}Request")


def answered(message: Any) -> Any:
    if isinstance(message, ProduceRequest):
        message.acks = -1  # with 0, as is the default, nothing is answered
    return message


@pytest.mark.parametrize(("api", "version"), versions())
def test_one_of_everything_is_answered(gateway: GatewayProcess, api: str, version: int) -> None:
    with RawClient(gateway.address) as raw:
        (topic,) = raw.ask(MetadataRequest([MetadataRequestTopic(name="topic")]), 12).topics
        for topic_id in (topic.topic_id, b"\1" * 16):
            request = answered(filled(request_of(api), version, "topic", topic_id))
            assert UNKNOWN_SERVER_ERROR not in error_codes(raw.ask(request, version))


@pytest.mark.parametrize(("api", "version"), versions())
def test_nothing_at_all_is_answered(gateway: GatewayProcess, api: str, version: int) -> None:
    with RawClient(gateway.address) as raw:
        answer = raw.ask(answered(request_of(api)()), version)
        assert UNKNOWN_SERVER_ERROR not in error_codes(answer)


# -- and with what makes sense: no error in any version

LEGACY = {("Produce", 0), ("Produce", 1), ("Produce", 2), *(("Fetch", version) for version in range(4))}
"""They take message sets, not batches."""
OWN = ("CreateTopics", "DeleteTopics", "Fetch", "ListOffsets", "Metadata", "Produce")


def sensible(api: str, version: int, name: str, topic_id: bytes) -> Message:
    if api == "CreateTopics":
        return CreateTopicsRequest([CreatableTopic(f"{name}-more", 1, 1)])
    if api == "DeleteTopics":
        if version < 6:
            return DeleteTopicsRequest(topic_names=[name])
        return DeleteTopicsRequest([DeleteTopicState(None, topic_id)])
    if api == "Metadata":
        return MetadataRequest([MetadataRequestTopic(name=name)])
    if api == "ListOffsets":
        return ListOffsetsRequest(-1, 0, [ListOffsetsTopic(name, [ListOffsetsPartition(0, timestamp=-1)])])
    if api == "Fetch":
        part = FetchPartition(0, partition_max_bytes=10_000)
        topic = FetchTopic(name, partitions=[part]) if version < 13 else FetchTopic("", topic_id, [part])
        return FetchRequest(max_bytes=10_000, topics=[topic])
    records = bytes(build_batch([(b"key", b"value")]))
    data = TopicProduceData(name if version < 13 else "", topic_id if version >= 13 else wire.ZERO_UUID)
    data.partition_data.append(PartitionProduceData(0, records))
    return ProduceRequest(None, -1, 10_000, [data])


@pytest.mark.parametrize(("api", "version"), [each for each in versions(*OWN) if each not in LEGACY])
def test_what_makes_sense_succeeds(gateway: GatewayProcess, api: str, version: int) -> None:
    name = f"sense-{api.lower()}-{version}"
    with RawClient(gateway.address) as raw:
        (topic,) = raw.ask(MetadataRequest([MetadataRequestTopic(name=name)]), 12).topics
        answer = raw.ask(sensible(api, version, name, topic.topic_id), version)
        assert set(error_codes(answer)) == {0}
