"""Texts of requests may be as long as the wire lets them be: what is told of them has room in the answer."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from broker_kit import Kit, a_client, a_kit, batch, turns
from requests_kit import NAMES, about_a_topic, filled

from kgw_core import wire
from kgw_core.api import registry
from kgw_core.errors import Unanswerable, UnknownServerError
from kgw_core.pending import Pending
from kgw_core.wire.base import Message
from kgw_core.wire.json import to_json
from kgw_core.wire.messages.describe_groups import DescribeGroupsRequest
from kgw_core.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kgw_core.wire.plan import has_version
from tests.unit.server.test_every_request import codes_in

pytestmark = pytest.mark.anyio

LONGEST = 32_767
APIS = {api.name: api for api in registry.load().values()}


def texts(message: Any, version: int) -> Iterator[tuple[Any, str]]:
    """Each message and attribute that is a text, or a list of them."""
    for attr, field in zip(type(message).__slots__, type(message).SCHEMA, strict=True):
        value = getattr(message, attr)
        if not has_version(field.versions, version):
            continue
        if field.type in ("string", "[]string"):
            yield message, attr
        elif isinstance(value, list):
            for each in value:
                if hasattr(each, "__slots__"):
                    yield from texts(each, version)
        elif hasattr(value, "__slots__"):
            yield from texts(value, version)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("letter", ["x", "\0", "ä"])
async def test_the_longest_is_answered(name: str, letter: str, caplog: pytest.LogCaptureFixture) -> None:
    """In the header, too: client ids become part of member ids."""
    kit = await a_kit(auto_create=True)
    topic = await kit.topic("x")
    long = letter * (LONGEST // len(letter.encode()))
    api, cls = APIS[name], wire.message(f"{name}Request")
    first, last = api.versions
    for version in range(first, last + 1):
        for number in range(len(list(texts(filled(cls, version), version)))):
            request = filled(cls, version)
            about_a_topic(request, topic.id_bytes, f"{version}-{number}")
            message, attr = list(texts(request, version))[number]
            setattr(message, attr, [long] if isinstance(getattr(message, attr), list) else long)
            codes = await asked(kit, kit.frame(request, version, long), request, version)
            assert UnknownServerError.code not in codes, f"{attr} of {name} v{version}"
    assert not [record for record in caplog.records if record.exc_info]
    await kit.close()


async def asked(kit: Kit, frame: bytearray, request: Message, version: int) -> list[int]:
    try:
        answer = kit.dispatcher.start(memoryview(frame), a_client(), True)
        for _ in range(5):
            if isinstance(answer, Pending) and not answer.done:
                await turns(20)
                await kit.clock.advance(2)
        if isinstance(answer, Pending):
            answer = answer.result()
    except Unanswerable:
        return []
    return codes_in(to_json(kit.decode(answer, request, version), version)) if answer else []


async def test_a_client_id_that_grows_when_it_is_read_is_told_as_far_as_there_is_room() -> None:
    """Bytes that are no UTF-8 are read as three bytes each."""
    kit = await a_kit()
    join = JoinGroupRequest(
        "g", 60_000, 10_000, protocol_type="consumer", protocols=[JoinGroupRequestProtocol("range", b"")]
    )
    frame = struct.pack(">hhih", 11, 3, 1, LONGEST) + b"\xff" * (LONGEST) + wire.encode(join, 3)
    assert UnknownServerError.code not in await asked(kit, bytearray(frame), join, 3)
    described = await kit.ask(DescribeGroupsRequest(["g"]), 0)
    [member] = described.groups[0].members
    assert set(member.client_id) == {"\ufffd"} and LONGEST - 3 < len(member.client_id.encode()) <= LONGEST
    await kit.close()


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize("version", [7, 9])
async def test_a_client_id_that_is_no_utf_8_is_read_alike_in_small_and_large_requests(
    version: int, size: int
) -> None:
    """Wrong bytes in it are read as U+FFFD, as Kafka does."""
    kit = await a_kit()
    topic = await kit.topic("x")
    parts = [PartitionProduceData(0, bytes(batch(bytes(size))))]
    request = ProduceRequest(None, -1, 5_000, [TopicProduceData("x", topic.id_bytes, partition_data=parts)])
    head, flexible = struct.pack(">hhih", 0, version, 1, 4) + b"caf\xe9", b"\0" if version >= 9 else b""
    client = a_client()
    frame = bytearray(head + flexible + wire.encode(request, version))
    answer = kit.dispatcher.start(memoryview(frame), client, True)
    response = kit.decode(await answer.wait() if isinstance(answer, Pending) else answer, request, version)
    assert [one.error_code for one in response.responses[0].partition_responses] == [0]
    assert client.client_id == "caf\ufffd"
    await kit.close()
