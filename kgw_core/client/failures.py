"""The client's own errors, with messages for people. A broker's error is a ``KafkaError``."""

from __future__ import annotations

from kgw_core.errors import BY_CODE, NONE, KafkaError, error_name


class ClientError(Exception):
    """Something cannot be done. The message is for the user."""


class Unreachable(ClientError):
    """A broker cannot be connected to, does not answer in time, or sends a malformed answer."""


class HungUp(Unreachable):
    """A broker closed the connection instead of answering. The request may be retried on a new one."""


class Refused(KafkaError):
    """The error has a code that this version does not know."""


def refusal(code: int, message: str | None = None) -> KafkaError:
    """The exception for an error code of a broker, with the broker's message or else the code's name."""
    name = error_name(code)
    return BY_CODE.get(code, Refused)(f"{name}: {message}" if message else name)


def check(code: int, message: str | None = None) -> None:
    """Return if the code is NONE. :raises KafkaError: the error of the code."""
    if code != NONE:
        raise refusal(code, message)
