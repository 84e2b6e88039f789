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


class FromEnv(str):
    """A value out of the environment: text that may stand for a number or a boolean, and where it is from."""

    variable: str

    def __new__(cls, text: str, variable: str) -> FromEnv:
        self = super().__new__(cls, text)
        self.variable = variable
        return self


class ConfigError(Exception):
    """Settings that cannot be used. ``str(error)`` is what the user reads: one line a problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
