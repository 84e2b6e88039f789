"""The types of settings, for annotations."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

Size: TypeAlias = Annotated[int, msgspec.Meta(extra={"kgw": "size"})]
"""Bytes, an int. In TOML a whole number or a text: ``"64 KiB"``, ``"1GB"`` (10**9), ``"512B"``."""

Duration: TypeAlias = Annotated[float, msgspec.Meta(extra={"kgw": "duration"})]
"""Seconds, a float. In TOML a number of seconds or a text: ``"500ms"``, ``"10m"``, ``"1h30m"``, ``"7d"``."""

KafkaConfigs: TypeAlias = Annotated[dict[str, str], msgspec.Meta(extra={"kgw": "configs"})]
"""Topic configs by Kafka's names, with values as Kafka's text. ``retention.ms = 1000`` and ``"retention.ms" =
"1000"`` are the same in TOML. Names and values are not checked here."""

Rest: TypeAlias = Annotated[dict[str, object], msgspec.Meta(extra={"kgw": "rest"})]
"""Takes all keys of its table that no other field takes, without a check."""


class Secret(str):
    """A text whose ``repr`` hides it, also in the repr of settings and in the locals of tracebacks.

    In TOML it is the text itself, ``{env = "NAME"}``, or ``{file = "PATH"}``: the file's text without its
    line end. The path is relative to the directory of the config file.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)"


class Given(str):
    """A text from elsewhere than the file, which may be a number or a boolean. ``source`` names its source in
    messages."""

    source: str

    def __new__(cls, text: str, source: str) -> Given:
        self = super().__new__(cls, text)
        self.source = source
        return self


class FromEnv(Given):
    """A text from the environment variable ``variable``."""

    def __new__(cls, text: str, variable: str) -> FromEnv:
        return super().__new__(cls, text, f"environment: {variable}")  # type: ignore[return-value]


class WrongSettings(ValueError):
    """Raised by a Struct's ``__post_init__`` for values of the right type that are wrong.

    Each problem is a key and a message, then other keys that take part, if any::

        raise WrongSettings(("most", "most (3) must be at least least (5)", "least"))
    """

    def __init__(self, *problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(f"{key}: {message}" for key, message, *_ in problems))
        self.problems = problems


class ConfigError(Exception):
    """The settings cannot be used. ``str(error)`` is for the user: one line for each problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
