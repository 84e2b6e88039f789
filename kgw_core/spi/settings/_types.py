"""The types that settings are annotated with."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

Size: TypeAlias = Annotated[int, msgspec.Meta(extra={"kgw": "size"})]
"""Bytes, an int. In TOML a whole number or a text: ``"64 KiB"``, ``"1GB"`` (10**9), ``"512B"``."""

Duration: TypeAlias = Annotated[float, msgspec.Meta(extra={"kgw": "duration"})]
"""Seconds, a float. In TOML a number of seconds or a text: ``"500ms"``, ``"10m"``, ``"1h30m"``, ``"7d"``."""

KafkaConfigs: TypeAlias = Annotated[dict[str, str], msgspec.Meta(extra={"kgw": "configs"})]
"""Topic configs by Kafka's names, values as Kafka's text. ``retention.ms = 1000`` and ``"retention.ms" =
"1000"`` are the same in TOML. Names and values are not checked here."""

Rest: TypeAlias = Annotated[dict[str, object], msgspec.Meta(extra={"kgw": "rest"})]
"""Takes every key of its table that no other field takes, unchecked."""


class Secret(str):
    """A text that does not show in ``repr``, hence not in the repr of settings nor in tracebacks' locals.

    In TOML the text itself, ``{env = "NAME"}``, or ``{file = "PATH"}``: the file's text without the line
    end, the path relative to the directory of the config file.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)"


class Given(str):
    """A text that does not stand in the file and may stand for a number or a boolean. ``source`` is what it
    is from, in the words of messages."""

    source: str

    def __new__(cls, text: str, source: str) -> Given:
        self = super().__new__(cls, text)
        self.source = source
        return self


class FromEnv(Given):
    """One out of the environment variable ``variable``."""

    def __new__(cls, text: str, variable: str) -> FromEnv:
        return super().__new__(cls, text, f"environment: {variable}")  # type: ignore[return-value]


class WrongSettings(ValueError):
    """What a Struct's ``__post_init__`` raises where settings are wrong that are of the right type.

    Each problem is the key and the message, then the other keys that the message speaks of, if any::

        raise WrongSettings(("most", "most (3) must be at least least (5)", "least"))
    """

    def __init__(self, *problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(f"{key}: {message}" for key, message, *_ in problems))
        self.problems = problems


class ConfigError(Exception):
    """Settings that cannot be used. ``str(error)`` is what the user reads: one line a problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
