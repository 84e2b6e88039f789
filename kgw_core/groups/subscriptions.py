"""Kafka's consumer protocol: the Subscription and Assignment of a member, versions 0 to 3.

As in Kafka, the coordinator reads only the fields that all versions have. It passes the bytes from member to
member unchanged, with user data and the fields of newer versions.
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
    """A member's metadata. :raises MalformedMessage: the bytes are no Subscription."""
    version = _version(metadata, "Subscription")
    return decode(ConsumerProtocolSubscription, version, memoryview(metadata)[_VERSION.size :])


def assignment(data: bytes) -> ConsumerProtocolAssignment:
    """A member's assignment. No bytes are no partitions.

    :raises MalformedMessage: the bytes are no Assignment.
    """
    if not data:
        return ConsumerProtocolAssignment()
    version = _version(data, "Assignment")
    return decode(ConsumerProtocolAssignment, version, memoryview(data)[_VERSION.size :])


def topics_of(metadata: Iterable[bytes]) -> frozenset[str] | None:
    """All topics that members with this metadata subscribe to; None if one of them cannot be read."""
    topics: set[str] = set()
    for data in metadata:
        try:
            _version(data, "Subscription")
            topics.update(decode(ConsumerProtocolSubscription, 0, memoryview(data)[_VERSION.size :]).topics)
        except MalformedMessage:
            return None
    return frozenset(topics)
