"""The Kafka protocol's messages: every request, response, header and data message, to and from bytes.

Shapes: a message class (``kgw_core.wire.messages``) serves all versions of a message, with snake_case
attributes. Integers are int, float64 float, string str, bytes bytes, uuid 16 raw bytes (:data:`ZERO_UUID`
for none). Arrays and Kafka's maps are list. `records` decode to a memoryview of the frame, or None; an
encoder takes any bytes and, in a response, a list of bytes. A tagged struct that is not set is None.

Source: the definitions in ``org.apache.kafka:kafka-clients`` 4.4.0 and 3.9.1 (docs/reference/wire.md). No
I/O here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from kgw_core.errors import InvalidRequest
from kgw_core.wire import index
from kgw_core.wire.base import ZERO_UUID, Buffer, Message, Parts, Struct
from kgw_core.wire.codecs import M, decoder, encoder, source
from kgw_core.wire.failures import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ZERO_UUID",
    "Buffer",
    "MalformedMessage",
    "Message",
    "Parts",
    "Struct",
    "decode",
    "decoder",
    "encode",
    "encode_parts",
    "encoder",
    "index",
    "message",
    "request_header_version",
    "response_header_version",
    "source",
]

BIG = 4096
"""A part of at least this many bytes is not joined with its neighbours by :func:`encode_parts`."""

_EXTENSIBLE = frozenset({"ConsumerProtocolSubscription", "ConsumerProtocolAssignment"})
_API_VERSIONS = 18
_CONTROLLED_SHUTDOWN = 7
_classes: dict[str, type[Message]] = {}


def message(name: str) -> type[Message]:
    """The class of the message that Kafka calls `name`: "ProduceRequest", "RequestHeader".

    :raises KeyError: there is no such message.
    """
    found = _classes.get(name)
    if found is None:
        found = getattr(import_module(f"kgw_core.wire.messages.{index.MESSAGES[name]}"), name)
        _classes[name] = found
    return found


def decode(message_class: type[M], version: int, buffer: Buffer) -> M:
    """The message in `buffer`, from its first byte to its last.

    Bytes after a ConsumerProtocolSubscription or -Assignment are ignored, as newer clients append fields. The
    buffer of these two begins after the version that precedes them in a JoinGroup or SyncGroup.

    :raises MalformedMessage: the bytes are not such a message, or go on after it.
    :raises ValueError: there is no such version of the message.
    """
    view = buffer if isinstance(buffer, memoryview) else memoryview(buffer)
    decoded, end = decoder(message_class, version)(view, 0)
    if end != len(view) and message_class.NAME not in _EXTENSIBLE:
        left = len(view) - end
        raise MalformedMessage(
            f"{message_class.NAME} v{version}: {left} bytes follow the message, at byte {end}"
        )
    return decoded


def encode(message: Message, version: int) -> bytes:
    """The bytes of `message`.

    :raises MalformedMessage: a value does not fit its field, or is None where the version has no null.
    :raises UnsupportedVersion: a field is set that the version lacks, and may not be left out.
    :raises ValueError: there is no such version of the message.
    """
    parts: list[Buffer] = []
    encoder(type(message), version)(message, parts.append)
    return _join(message, version, parts)


def encode_parts(message: Message, version: int) -> list[Buffer]:
    """The bytes of `message` as buffers to write one after another. Big `bytes` and `records` values are not
    copied; the buffers between them are joined. Raises as :func:`encode` does.
    """
    small: list[Buffer] = []
    parts: list[Buffer] = []

    def write(part: Buffer) -> None:
        if len(part) < BIG:
            small.append(part)
        else:
            if small:
                parts.append(_join(message, version, small))
                small.clear()
            parts.append(part)

    encoder(type(message), version)(message, write)
    if small:
        parts.append(_join(message, version, small))
    return parts


def request_header_version(api_key: int, version: int) -> int:
    """The version of RequestHeader before a request. `version` may be one without a codec.

    :raises InvalidRequest: there is no such API.
    """
    flexible_from = _api(api_key).flexible_from
    if flexible_from is not None and version >= flexible_from:
        return 2
    return 0 if api_key == _CONTROLLED_SHUTDOWN and version == 0 else 1


def response_header_version(api_key: int, version: int) -> int:
    """The version of ResponseHeader before a response. It is 0 for ApiVersions, so that all clients can read
    the answer.

    :raises InvalidRequest: there is no such API.
    """
    flexible_from = _api(api_key).flexible_from
    return int(flexible_from is not None and version >= flexible_from and api_key != _API_VERSIONS)


def _api(api_key: int) -> index.Api:
    found = index.APIS.get(api_key)
    if found is None:
        raise InvalidRequest(f"there is no API with key {api_key}")
    return found


def _join(message: Message, version: int, parts: Sequence[Buffer]) -> bytes:
    try:
        return b"".join(parts)
    except TypeError as error:  # a value is no bytes, for example a str
        from kgw_core.wire.explain import unencodable

        raise unencodable(message, version, error) from error
