"""Config values: Kafka's types, how their text is read and written, and what DescribeConfigs says of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from kgw_core.errors import InvalidConfig

BOOLEAN, STRING, INT, SHORT, LONG, DOUBLE, LIST, CLASS, PASSWORD = range(1, 10)
"""Type codes of DescribeConfigs."""
TYPE_NAMES = ("unknown", "boolean", "string", "int", "short", "long", "double", "list", "class", "password")

DYNAMIC_TOPIC_CONFIG, DYNAMIC_BROKER_CONFIG, DYNAMIC_DEFAULT_BROKER_CONFIG = 1, 2, 3
STATIC_BROKER_CONFIG, DEFAULT_CONFIG = 4, 5
"""Source codes of DescribeConfigs: set on the topic, at run time for this broker, at run time for all
brokers, in the gateway's settings, nowhere."""

Value: TypeAlias = bool | int | float | str | tuple[str, ...]

_BITS = {INT: 31, SHORT: 15, LONG: 63}


class Definition:
    """What is known of one config.

    ``default`` is Kafka's, as text (None: Kafka has none). ``synonyms`` are the broker configs that stand
    in for one that the topic does not set, the first that is set wins: (name, what to multiply its value
    by); the last carries the default. ``low`` and ``high`` bound a number, ``also`` is allowed besides;
    ``choices`` are the texts allowed; ``check`` is any other test of the typed value, ``words`` says in
    words what it wants. ``effective``: the gateway acts on it. ``obsolete``: Kafka 3.x knew it, 4.x does
    not. ``doc`` is one line.
    """

    __slots__ = (
        "also",
        "check",
        "choices",
        "default",
        "doc",
        "effective",
        "high",
        "low",
        "name",
        "obsolete",
        "synonyms",
        "type",
        "words",
    )

    def __init__(
        self,
        name: str,
        type: int,
        default: str | None,
        doc: str,
        *,
        synonyms: tuple[tuple[str, int], ...] = (),
        low: int | None = None,
        high: int | None = None,
        also: int | None = None,
        choices: tuple[str, ...] | None = None,
        check: Callable[[Value], bool] | None = None,
        words: str | None = None,
        effective: bool = False,
        obsolete: bool = False,
    ) -> None:
        self.name = name
        self.type = type
        self.default = default
        self.doc = doc
        self.synonyms = synonyms
        self.low = low
        self.high = high
        self.also = also
        self.choices = choices
        self.check = check
        self.words = words
        self.effective = effective
        self.obsolete = obsolete

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Synonym:
    """A place that a config's value can come from: ``name`` there, its ``value`` as text, source code."""

    __slots__ = ("name", "source", "value")

    def __init__(self, name: str, value: str | None, source: int) -> None:
        self.name = name
        self.value = value
        self.source = source

    def __repr__(self) -> str:
        return f"Synonym({self.name!r}, {self.value!r}, {self.source})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Synonym):
            return NotImplemented
        return (self.name, self.value, self.source) == (other.name, other.value, other.source)

    __hash__ = None  # type: ignore[assignment]


class ConfigEntry:
    """One config as DescribeConfigs and CreateTopics (v5 on) tell it.

    ``value`` is text, None where there is none or it is ``sensitive``; ``source`` and ``type`` are the
    codes above; ``synonyms`` begin with where the value comes from.
    """

    __slots__ = ("doc", "name", "read_only", "sensitive", "source", "synonyms", "type", "value")

    def __init__(
        self,
        name: str,
        value: str | None,
        source: int,
        read_only: bool,
        sensitive: bool,
        type: int,
        doc: str,
        synonyms: tuple[Synonym, ...],
    ) -> None:
        self.name = name
        self.value = value
        self.source = source
        self.read_only = read_only
        self.sensitive = sensitive
        self.type = type
        self.doc = doc
        self.synonyms = synonyms

    def __repr__(self) -> str:
        return f"ConfigEntry({self.name!r}, {self.value!r}, source={self.source})"


def parse(definition: Definition, text: str, called: str | None = None) -> Value:
    """The typed value that ``text`` stands for; space around it does not count.

    A list becomes a tuple. ``called`` is the name for the message where it is not the definition's.

    :raises InvalidConfig: not of the type, or not allowed; names the config, the text and what is allowed.
    """
    value = _typed(definition, text.strip())
    if value is None or not _allowed(definition, value):
        raise InvalidConfig(
            f'Invalid value "{text}" for {called or definition.name}: must be {wanted(definition)}'
        )
    return value


def to_text(value: Value) -> str:
    """``value`` as Kafka writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def wanted(definition: Definition) -> str:
    """What is allowed, in words that follow "must be"."""
    if definition.words is not None:
        return definition.words
    if definition.choices is not None:
        choices = ", ".join(definition.choices)
        return f"a list of any of {choices}" if definition.type == LIST else f"one of {choices}"
    if definition.type in (STRING, CLASS, PASSWORD):
        return "text"
    if definition.type == BOOLEAN:
        return "true or false"
    if definition.type == LIST:
        return "a list"
    words = "a number" if definition.type == DOUBLE else "a whole number"
    low, high = _range(definition)
    if definition.high is None and definition.type in (LONG, DOUBLE):
        words += f" of at least {low}" if definition.low is not None else ""
    elif definition.low is not None or definition.high is not None:
        words += f" from {low} to {high}"
    return words if definition.also is None else f"{words}, or {definition.also}"


def _typed(definition: Definition, text: str) -> Value | None:
    if definition.type == BOOLEAN:
        return {"true": True, "false": False}.get(text.lower())
    if definition.type in _BITS:
        return _whole(text)
    if definition.type == DOUBLE:
        try:
            number = float(text)
        except ValueError:
            return None
        return number if "_" not in text and number - number == 0 else None  # neither NaN nor infinite
    if definition.type == LIST:
        items = tuple(item.strip() for item in text.split(",")) if text else ()
        return tuple(dict.fromkeys(items)) if definition.choices is not None else items
    return text


def _whole(text: str) -> int | None:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits.isdecimal() or len(digits) > 1000:
        return None
    return int(text)


def _range(definition: Definition) -> tuple[int | None, int | None]:
    bits = _BITS.get(definition.type)
    if bits is None:
        return definition.low, definition.high
    low, high = definition.low, definition.high
    return -1 << bits if low is None else low, (1 << bits) - 1 if high is None else high


def _allowed(definition: Definition, value: Value) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = _range(definition)
        within = (low is None or value >= low) and (high is None or value <= high)
        if not within and value != definition.also:
            return False
    elif definition.choices is not None:
        items = value if isinstance(value, tuple) else (value,)
        if not all(item in definition.choices for item in items):
            return False
    return definition.check is None or definition.check(value)
