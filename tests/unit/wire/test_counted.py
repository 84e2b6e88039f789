"""Decoders with a limit of entries: the same messages, and no more entries than allowed."""

from __future__ import annotations

import struct

import pytest

from kgw_core import wire
from kgw_core.steps import at_once
from kgw_core.wire import MalformedMessage
from kgw_core.wire.codecs import stepwise_decoder
from kgw_core.wire.failures import TooMany
from kgw_core.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from kgw_core.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestTopic,
)


def test_they_decode_every_request_to_the_same_message(vectors):
    for row in vectors:
        if not row.message.endswith("Request") or row.version % 3:  # each is compiled: a third will do
            continue
        cls = wire.message(row.message)
        expected, end = wire.decoder(cls, row.version)(memoryview(row.data), 0)
        decoded, at, left = at_once(stepwise_decoder(cls, row.version)(memoryview(row.data), 0, 1000))
        assert (decoded, at) == (expected, end)
        assert 0 <= left <= 1000


def counted(message, version, limit):
    data = memoryview(wire.encode(message, version))
    return at_once(stepwise_decoder(type(message), version)(data, 0, limit))[2]


def test_all_arrays_count_together():
    topics = [OffsetFetchRequestTopic("t", [1, 2, 3]), OffsetFetchRequestTopic("u", [4])]
    request = OffsetFetchRequest("g", topics)
    assert counted(request, 5, 6) == 0
    assert counted(request, 5, 100) == 94
    with pytest.raises(MalformedMessage) as refused:
        counted(request, 5, 5)
    assert isinstance(refused.value.__cause__, TooMany)


def test_more_than_allowed_is_refused_before_it_is_made():
    request = MetadataRequest([MetadataRequestTopic(name="")] * 1000)
    with pytest.raises(MalformedMessage, match="at least 1 entries more than allowed, at byte 4"):
        counted(request, 1, 999)


def test_sections_of_tagged_fields_count():
    body = bytearray(wire.encode(MetadataRequest([]), 9)[:-1])
    body += b"\xe8\x07" + b"".join(struct.pack("BBB", 0x80 | at & 0x7F, at >> 7 | 4, 0) for at in range(1000))
    decode = stepwise_decoder(MetadataRequest, 9)
    assert at_once(decode(memoryview(body), 0, 1000))[1:] == (len(body), 0)
    with pytest.raises(MalformedMessage, match="more than allowed"):
        at_once(decode(memoryview(body), 0, 999))
