"""What may go wrong for a client, in words for people. What a broker answers is a ``KafkaError``."""

from __future__ import annotations

from kgw_core.errors import BY_CODE, NONE, KafkaError, error_name


class ClientError(Exception):
    """Something cannot be done; the message is what a user reads."""


class Unreachable(ClientError):
    """A broker cannot be connected to, does not answer in time, or answers nonsense."""


class HungUp(Unreachable):
    """A broker closed the connection instead of answering; it may be tried again on a new one."""


class Refused(KafkaError):
    """An error code that this version does not know."""


def refusal(code: int, message: str | None = None) -> KafkaError:
    """The exception for an error code of a broker, with the broker's message or else the code's name."""
    name = error_name(code)
    return BY_CODE.get(code, Refused)(f"{name}: {message}" if message else name)


def check(code: int, message: str | None = None) -> None:
    """:raises KafkaError: the code is one of an error."""
    if code != NONE:
        raise refusal(code, message)
