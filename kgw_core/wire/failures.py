"""The errors of the codecs.

The emitted functions raise :class:`Bad`, or meet a ``struct.error`` or ``IndexError``. At their end they turn
it into one :class:`MalformedMessage` that names the message, the version, the field and the byte.
"""

from __future__ import annotations

import struct

from kgw_core.errors import InvalidRequest, UnsupportedVersion


class MalformedMessage(InvalidRequest):
    """Bytes that are no valid message, or a message that cannot be written.

    Its error code is INVALID_REQUEST. ``str(error)`` gives the message and version, the field, what was found
    and, for bytes, the position in the frame.
    """


class Bad(Exception):
    """An error without its position, inside codecs only."""


class TooMany(Bad):
    """The message has more entries than the caller of a stepwise decoder allowed."""


DECODE_ERRORS = (Bad, IndexError, struct.error, ValueError, OverflowError)
ENCODE_ERRORS = (Bad, AttributeError, TypeError, struct.error, ValueError, OverflowError)


def malformed(what: str, pos: int, error: Exception) -> MalformedMessage:
    """The error that a decoder raises. `what` is the message with its version, `pos` the byte reached."""
    if isinstance(error, Bad):
        found = str(error)
    elif isinstance(error, UnicodeDecodeError):
        found = "a string that is not UTF-8"
    else:
        found = "the message ends too early"
    return MalformedMessage(f"{what}: {found}, at byte {pos}")


def bad_length(field: str, length: int, left: int) -> Bad:
    """A string, bytes or a tagged field has an impossible length."""
    if length == -1:
        return Bad(f"{field} is null, which it must not be")
    return Bad(f"{field} has a length of {length} where {left} bytes are left")


def bad_count(field: str, count: int, left: int) -> Bad:
    """An array has an impossible count."""
    if count == -1:
        return Bad(f"{field} is null, which it must not be")
    return Bad(f"{field} has a count of {count} where {left} bytes are left")


def too_many(left: int) -> TooMany:
    """The message has more entries than allowed. `left` is negative: minus the number of excess entries."""
    return TooMany(f"has at least {-left} entries more than allowed")


def bad_tag(tag: int, declared: int, taken: int) -> Bad:
    """The content of a tagged field is not as long as its length."""
    return Bad(f"tagged field {tag} has a length of {declared} but a content of {taken} bytes")


def bad_null(field: str) -> Bad:
    """The value is None, and the field has no null in this version."""
    return Bad(f"{field} is None, which it must not be")


def bad_uuid(field: str) -> Bad:
    """The value of a uuid is not 16 bytes long."""
    return Bad(f"{field} is not a uuid: 16 bytes are needed")


def unsupported(what: str, field: str) -> UnsupportedVersion:
    """A field is set that this version does not have."""
    return UnsupportedVersion(f"{what} has no place for {field}, which is set")
