"""Whatever arrives, decoding gives a message or one MalformedMessage, and makes nothing big of little."""

from __future__ import annotations

import random
import struct
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgw_core import errors, wire
from kgw_core.wire import MalformedMessage, primitives


def outcome(cls, version, data):
    """Decode; the message, or None where it is refused as it should be. Anything else raised fails the
    test.
    """
    try:
        return wire.decode(cls, version, data)
    except MalformedMessage as error:
        assert str(error).startswith(cls.NAME + " v"), str(error)
        assert ", at byte " in str(error)
        return None


def test_every_message_cut_short_anywhere_is_refused(vectors):
    for v in vectors:
        cls = wire.message(v.message)
        cuts = (
            range(len(v.data))
            if len(v.data) <= 60
            else sorted(random.Random(1).sample(range(len(v.data)), 60))
        )
        extensible = v.message in ("ConsumerProtocolSubscription", "ConsumerProtocolAssignment")
        for cut in cuts:
            found = outcome(cls, v.version, v.data[:cut])
            assert found is None or extensible, (v.message, v.version, cut)


def test_every_message_with_flipped_bytes_is_read_or_refused(vectors):
    chance = random.Random(2)
    for v in vectors:
        if not v.data:
            continue
        cls = wire.message(v.message)
        for _ in range(25):
            data = bytearray(v.data)
            for _ in range(chance.choice((1, 1, 2, 5))):
                data[chance.randrange(len(data))] = chance.choice(
                    (0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))
                )
            outcome(cls, v.version, data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_edits_that_hypothesis_thinks_of_are_read_or_refused(vectors, data):
    row = vectors[data.draw(st.integers(0, len(vectors) - 1))]
    content = bytearray(row.data)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        until = min(len(content), at + data.draw(st.integers(0, 4)))
        content[at:until] = data.draw(st.binary(max_size=6))
    cls = wire.message(row.message)
    found = outcome(cls, row.version, content)
    if found is not None:
        again = wire.decode(cls, row.version, wire.encode(found, row.version))
        # repr, because a float may be NaN
        assert repr(again) == repr(found)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_noise_is_read_or_refused_as_any_request(data):
    for name in ("ProduceRequest", "FetchRequest", "MetadataRequest", "OffsetCommitRequest", "RequestHeader"):
        cls = wire.message(name)
        for version in (cls.VERSIONS[0], cls.VERSIONS[1]):
            outcome(cls, version, data)


def test_no_small_frame_makes_the_decoder_allocate_much(vectors):
    """Each place of a message in turn claims a huge length; 25 rows of what clients send most, every byte."""
    often = ("Produce", "Fetch", "Metadata", "ListOffsets", "OffsetCommit", "OffsetFetch", "FindCoordinator")
    rows = [v for v in vectors if v.message.startswith(often) and 0 < len(v.data) < 400][:25]
    for v in rows:
        wire.decoder(wire.message(v.message), v.version)
    tracemalloc.start()
    try:
        for v in rows:
            cls = wire.message(v.message)
            for at in range(len(v.data)):
                for claim in (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x07"):
                    data = v.data[:at] + claim + v.data[at + len(claim) :]
                    outcome(cls, v.version, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


HUGE = [2**31 - 1, 2**30, 100]


@pytest.mark.parametrize("count", HUGE)
def test_an_array_with_more_elements_than_bytes_is_refused(count):
    with pytest.raises(
        MalformedMessage, match=r"topics has a count of \d+ where 0 bytes are left, at byte 4"
    ):
        wire.decode(wire.message("MetadataRequest"), 1, struct.pack(">i", count))
    with pytest.raises(MalformedMessage, match="topics has a count of"):
        wire.decode(wire.message("MetadataRequest"), 9, primitives.uvarint(count + 1))
    with pytest.raises(MalformedMessage, match="new_isr has a count of"):
        head = struct.pack(">iq", 1, 1) + b"\x02" + b"\x02a" + b"\x02" + struct.pack(">ii", 1, 1)
        wire.decode(
            wire.message("AlterPartitionRequest"), 0, head + primitives.uvarint(count + 1) + bytes(12)
        )


def test_a_count_is_held_against_the_smallest_size_of_its_elements():
    fits = struct.pack(">i", 2) + b"\0\1a\0\1b"
    assert [t.name for t in wire.decode(wire.message("MetadataRequest"), 0, fits).topics] == ["a", "b"]
    with pytest.raises(MalformedMessage, match="topics has a count of 4 where 6 bytes are left"):
        wire.decode(wire.message("MetadataRequest"), 0, struct.pack(">i", 4) + fits[4:])


@pytest.mark.parametrize("length", HUGE)
def test_strings_bytes_and_records_longer_than_the_frame_are_refused(length):
    with pytest.raises(MalformedMessage, match="auth_bytes has a length of"):
        wire.decode(wire.message("SaslAuthenticateRequest"), 0, struct.pack(">i", length))
    with pytest.raises(MalformedMessage, match="auth_bytes has a length of"):
        wire.decode(wire.message("SaslAuthenticateRequest"), 2, primitives.uvarint(length + 1))
    with pytest.raises(MalformedMessage, match=r"has a length of"):
        wire.decode(wire.message("HeartbeatRequest"), 4, primitives.uvarint(length + 1))
    with pytest.raises(MalformedMessage, match="group_id has a length of 100"):
        wire.decode(wire.message("HeartbeatRequest"), 0, struct.pack(">h", 100))
    head = struct.pack(">hi", 1, 1) + struct.pack(">ih1sii", 1, 1, b"a", 1, 0)
    with pytest.raises(MalformedMessage, match=r"records has a length of"):
        wire.decode(wire.message("ProduceRequest"), 0, head + struct.pack(">i", length))


@pytest.mark.parametrize("length", [-2, -(2**15)])
def test_a_negative_length_is_refused_unless_it_is_null(length):
    cls = wire.message("HeartbeatRequest")
    with pytest.raises(MalformedMessage, match=f"group_id has a length of {length} where"):
        wire.decode(cls, 0, struct.pack(">h", length))
    with pytest.raises(MalformedMessage, match="topics has a count of -2 where"):
        wire.decode(wire.message("MetadataRequest"), 1, struct.pack(">i", -2))
    assert wire.decode(wire.message("MetadataRequest"), 1, struct.pack(">i", -1)).topics is None


def test_null_where_there_is_no_null_is_refused():
    with pytest.raises(MalformedMessage, match=r"HeartbeatRequest v0: group_id is null, .* at byte 2"):
        wire.decode(wire.message("HeartbeatRequest"), 0, struct.pack(">h", -1))
    with pytest.raises(MalformedMessage, match=r"HeartbeatRequest v4: group_id is null, .* at byte 1"):
        wire.decode(wire.message("HeartbeatRequest"), 4, b"\0")
    with pytest.raises(MalformedMessage, match="topics is null"):
        wire.decode(wire.message("MetadataRequest"), 0, struct.pack(">i", -1))


def test_a_string_that_is_not_utf8_is_refused():
    with pytest.raises(MalformedMessage, match="HeartbeatRequest v4: a string that is not UTF-8, at byte 1"):
        wire.decode(wire.message("HeartbeatRequest"), 4, b"\x02\xff" + bytes(20))


def test_a_varint_that_is_too_long_is_refused():
    for varint in (b"\xff\xff\xff\xff\xff\x01", b"\xff\xff\xff\xff\x10", b"\x80\x80\x80\x80\x80"):
        with pytest.raises(MalformedMessage, match="a varint has more than 32 bits"):
            wire.decode(wire.message("MetadataRequest"), 9, varint)


def test_a_malformed_message_is_an_invalid_request():
    assert issubclass(MalformedMessage, errors.InvalidRequest)


def test_bytes_after_the_message_are_refused():
    cls = wire.message("HeartbeatRequest")
    data = wire.encode(cls(group_id="g", member_id="m"), 4)
    with pytest.raises(MalformedMessage, match=f"HeartbeatRequest v4: 2 bytes follow .* at byte {len(data)}"):
        wire.decode(cls, 4, data + b"ab")


@pytest.mark.parametrize("name", ["ConsumerProtocolSubscription", "ConsumerProtocolAssignment"])
def test_a_subscription_and_an_assignment_may_go_on_after_what_is_known(name):
    cls = wire.message(name)
    assert wire.decode(cls, 1, wire.encode(cls(), 1) + b"from a newer client") == cls()
