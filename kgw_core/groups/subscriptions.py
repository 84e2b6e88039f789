"""What consumers tell each other through the coordinator: Subscription and Assignment, versions 0 to 3.

The coordinator reads only what every version begins with, as Kafka does; unknown user data and what newer
versions append stay in the bytes, which go from member to member as they came.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from kgw_core.wire import MalformedMessage, decode
from kgw_core.wire.messages.consumer_protocol_assignment import ConsumerProtocolAssignment
from kgw_core.wire.messages.consumer_protocol_subscription import ConsumerProtocolSubscription

CONSUMER = "consumer"
"""The protocol type of consumer groups."""

NEWEST = 3
_VERSION = struct.Struct(">h")


def _version(data: bytes, what: str) -> int:
    if len(data) < _VERSION.size:
        raise MalformedMessage(f"{what}: {len(data)} bytes have no version")
    version: int = _VERSION.unpack_from(data)[0]
    if version < 0:
        raise MalformedMessage(f"{what}: version {version}")
    return min(version, NEWEST)


def subscription(metadata: bytes) -> ConsumerProtocolSubscription:
    """A member's metadata. :raises MalformedMessage: it is none."""
    version = _version(metadata, "Subscription")
    return decode(ConsumerProtocolSubscription, version, memoryview(metadata)[_VERSION.size :])


def assignment(data: bytes) -> ConsumerProtocolAssignment:
    """A member's assignment; no bytes are no partitions. :raises MalformedMessage: it is none."""
    if not data:
        return ConsumerProtocolAssignment()
    version = _version(data, "Assignment")
    return decode(ConsumerProtocolAssignment, version, memoryview(data)[_VERSION.size :])


def topics_of(metadata: Iterable[bytes]) -> frozenset[str] | None:
    """All topics that members with this metadata subscribe to; None where one of them cannot be read."""
    topics: set[str] = set()
    for data in metadata:
        try:
            _version(data, "Subscription")
            topics.update(decode(ConsumerProtocolSubscription, 0, memoryview(data)[_VERSION.size :]).topics)
        except MalformedMessage:
            return None
    return frozenset(topics)
