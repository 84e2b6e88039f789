"""Tagged fields: the known are read, the unknown are stepped over, as Kafka does."""

from __future__ import annotations

import pytest

from kgw_core import wire
from kgw_core.wire import MalformedMessage
from kgw_core.wire.primitives import uvarint


def tagged(*fields):
    """A section of tagged fields from (tag, content)."""
    return uvarint(len(fields)) + b"".join(uvarint(t) + uvarint(len(c)) + c for t, c in fields)


def heartbeat():
    cls = wire.message("HeartbeatRequest")
    return cls, cls(group_id="g", generation_id=3, member_id="m")


def test_unknown_tagged_fields_are_skipped():
    cls, message = heartbeat()
    data = wire.encode(message, 4)
    assert data.endswith(b"\0")
    for section in (
        tagged((0, b"abc")),
        tagged((3, b""), (900, bytes(300))),
        tagged(*((t, b"x") for t in range(200))),
    ):
        assert wire.decode(cls, 4, data[:-1] + section) == message


def test_unknown_tagged_fields_are_skipped_beside_known_ones():
    cls = wire.message("FetchRequest")
    message = cls(cluster_id="c")
    data = wire.encode(message, 12)
    known = uvarint(0) + uvarint(2) + b"\x02c"
    assert data.endswith(b"\x01" + known)
    more = data[: -len(known) - 1] + b"\x03" + known + uvarint(7) + uvarint(1) + b"!" + uvarint(1000) + b"\0"
    assert wire.decode(cls, 12, more) == message


def test_the_order_of_tags_does_not_matter_and_the_last_of_two_counts():
    """Kafka's reader does not check the order, either."""
    cls = wire.message("FetchRequest")
    data = wire.encode(cls(), 12)
    section = tagged((9, b""), (0, b"\x02a"), (0, b"\x02b"))
    assert wire.decode(cls, 12, data[:-1] + section).cluster_id == "b"


@pytest.mark.parametrize("section", [b"\x01\x07\x05abcd", b"\x02\x07\x01a", b"\xff\xff\xff\xff\x0f", b"\x01"])
def test_a_section_of_tags_that_ends_too_early_is_refused(section):
    for name, version in (("HeartbeatRequest", 4), ("FetchRequest", 12)):
        cls = wire.message(name)
        with pytest.raises(MalformedMessage):
            wire.decode(cls, version, wire.encode(cls(), version)[:-1] + section)


def test_a_known_tagged_field_that_is_not_as_long_as_it_says_is_refused():
    cls = wire.message("FetchRequest")
    data = wire.encode(cls(), 12)
    for content in (b"\x02ab", b"\x03a"):
        with pytest.raises(MalformedMessage):
            wire.decode(cls, 12, data[:-1] + tagged((0, content)))


def test_a_tagged_struct_that_is_not_set_is_none_and_not_sent():
    cls = wire.message("FetchResponse")
    from kgw_core.wire.messages.fetch import (
        EpochEndOffset,
        FetchableTopicResponse,
        LeaderIdAndEpoch,
        PartitionData,
    )

    def answer(**values):
        partition = PartitionData(partition_index=1, **values)
        return cls(responses=[FetchableTopicResponse(topic="t", partitions=[partition])])

    plain = wire.encode(answer(), 12)
    assert wire.encode(answer(diverging_epoch=EpochEndOffset()), 12) == plain
    back = wire.decode(cls, 12, plain).responses[0].partitions[0]
    assert back.diverging_epoch is None
    full = answer(current_leader=LeaderIdAndEpoch(2, 3))
    assert wire.decode(cls, 12, wire.encode(full, 12)) == full
