"""Kafka's rules for the names of topics, and the names of internal topics."""

from __future__ import annotations

from kgw_core.errors import InvalidTopicException

MAX_LENGTH = 249
"""The most characters of a topic's name, so that with "-" and a partition number it is a valid file name."""

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
STATE_TOPIC = "__kgw_state"
"""The topic of the gateway's own state, if no plugin keeps it. Clients do not see it."""

_INTERNAL = frozenset({"__consumer_offsets", "__transaction_state"})
_RESERVED = frozenset({STATE_TOPIC, *_INTERNAL})


def check_name(name: str) -> None:
    """Return if ``name`` is valid for a topic.

    :raises InvalidTopicException: the name is invalid; the message has the reason.
    """
    if not name:
        reason = "the empty string is not allowed"
    elif name in (".", ".."):
        reason = f"'{name}' is not allowed"
    elif len(name) > MAX_LENGTH:
        reason = f"the length of '{name}' is {len(name)}, longer than the max allowed length {MAX_LENGTH}"
    elif not _ALLOWED.issuperset(name):
        reason = f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    else:
        return
    raise InvalidTopicException(f"Topic name is invalid: {reason}")


def unified(name: str) -> str:
    """``name`` with '_' for '.', as in the names of metrics. Two topics must not share it."""
    return name.replace(".", "_")


def collides(a: str, b: str) -> bool:
    """Whether ``a`` and ``b`` differ at most in '.' and '_', so that only one of them may exist."""
    return unified(a) == unified(b)


def reserved_like(name: str) -> str | None:
    """The reserved topic of the gateway or of Kafka that ``name`` collides with, also if it does not
    exist."""
    return next((own for own in _RESERVED if name != own and collides(name, own)), None)


def is_internal(name: str) -> bool:
    """Whether the topic is internal: consumers' patterns skip it, and limits do not count it."""
    return name in _INTERNAL or name.startswith("__kgw")


def is_hidden(name: str) -> bool:
    """Whether clients can neither see nor create the topic."""
    return name == STATE_TOPIC
