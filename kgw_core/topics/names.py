"""What a topic may be called, and which topics are the gateway's own. The rules are Kafka's."""

from __future__ import annotations

from kgw_core.errors import InvalidTopicException

MAX_LENGTH = 249
"""Characters in a topic's name: with "-" and a partition number it is still a file name."""

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
STATE_TOPIC = "__kgw_state"
"""The topic whose log holds the gateway's own state, where no plugin does. No client sees it."""

_INTERNAL = frozenset({"__consumer_offsets", "__transaction_state"})
_RESERVED = frozenset({STATE_TOPIC, *_INTERNAL})


def check_name(name: str) -> None:
    """Return if a topic may be called ``name``.

    :raises InvalidTopicException: it may not, and why.
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
    """``name`` as metrics show it, with '_' for '.': two topics may not share it."""
    return name.replace(".", "_")


def collides(a: str, b: str) -> bool:
    """Whether topics ``a`` and ``b`` differ at most in '.' for '_', so that only one of them may exist."""
    return unified(a) == unified(b)


def reserved_like(name: str) -> str | None:
    """The topic of the gateway's own, or of Kafka's, that ``name`` differs from in '.' for '_' only.

    Whether it is there or not, another one does not take its place.
    """
    return next((own for own in _RESERVED if name != own and collides(name, own)), None)


def is_internal(name: str) -> bool:
    """Whether the topic is the gateway's own: hidden from patterns, and not counted against limits."""
    return name in _INTERNAL or name.startswith("__kgw")


def is_hidden(name: str) -> bool:
    """Whether the topic is kept from clients altogether, and may not be made by one."""
    return name == STATE_TOPIC
