"""What goes wrong in a codec, and how it is told.

The emitted functions raise :class:`Bad` (or run into ``struct.error``, ``IndexError`` …), and turn it at
their end into one :class:`MalformedMessage` that names the message, the version, the field and the byte.
"""

from __future__ import annotations

import struct

from kgw_core.errors import InvalidRequest, UnsupportedVersion


class MalformedMessage(InvalidRequest):
    """Bytes that are not the message they should be, or a message that cannot be written.

    Answered with INVALID_REQUEST where it is answered at all. ``str(error)`` says which message and
    version, which field, what was found and, for bytes, at which byte of the frame.
    """


class Bad(Exception):
    """What is wrong, without where: for the inside of codecs only."""


class TooMany(Bad):
    """More entries than the caller of a counted decoder allowed."""


DECODE_ERRORS = (Bad, IndexError, struct.error, ValueError, OverflowError)
ENCODE_ERRORS = (Bad, AttributeError, TypeError, struct.error, ValueError, OverflowError)


def malformed(what: str, pos: int, error: Exception) -> MalformedMessage:
    """The one error that a decoder raises. `what` is the message with its version, `pos` the byte reached."""
    if isinstance(error, Bad):
        found = str(error)
    elif isinstance(error, UnicodeDecodeError):
        found = "a string that is not UTF-8"
    else:
        found = "the message ends too early"
    return MalformedMessage(f"{what}: {found}, at byte {pos}")


def bad_length(field: str, length: int, left: int) -> Bad:
    """A string, bytes or a tagged field of a length that cannot be."""
    if length == -1:
        return Bad(f"{field} is null, which it must not be")
    return Bad(f"{field} has a length of {length} where {left} bytes are left")


def bad_count(field: str, count: int, left: int) -> Bad:
    """An array with a count that cannot be."""
    if count == -1:
        return Bad(f"{field} is null, which it must not be")
    return Bad(f"{field} has a count of {count} where {left} bytes are left")


def too_many(left: int) -> TooMany:
    """More entries than may be in one message; `left` is how many too few were left, negative."""
    return TooMany(f"has at least {-left} entries more than allowed")


def bad_tag(tag: int, declared: int, taken: int) -> Bad:
    """A tagged field whose content is not as long as it says."""
    return Bad(f"tagged field {tag} has a length of {declared} but a content of {taken} bytes")


def bad_null(field: str) -> Bad:
    """None to be written where the version has no null."""
    return Bad(f"{field} is None, which it must not be")


def bad_uuid(field: str) -> Bad:
    """A uuid to be written that is not 16 bytes."""
    return Bad(f"{field} is not a uuid: 16 bytes are needed")


def unsupported(what: str, field: str) -> UnsupportedVersion:
    """A value set for which the version has no place."""
    return UnsupportedVersion(f"{what} has no place for {field}, which is set")
