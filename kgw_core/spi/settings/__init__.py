"""Types for settings, and :func:`read_table`, which checks a table of a TOML file against them.

A plugin's ``Config`` is a msgspec Struct whose fields use these types; so are the core's own settings::

    class Config(msgspec.Struct, frozen=True, kw_only=True):
        path: Path = Path("kgw.db")                         # relative to the directory of the config file
        cache: Size = 64 * MiB                              # "64MiB" or 67108864 in TOML, an int here
        timeout: Annotated[Duration, msgspec.Meta(gt=0)] = 5.0   # "5s" or 5 in TOML, seconds here
        password: Secret | None = None                      # "text", {env = "NAME"} or {file = "PATH"}

Nested Structs are TOML tables, ``list[Struct]`` and ``tuple[Struct, ...]`` arrays of tables. Ranges are
``msgspec.Meta(ge=…, gt=…, le=…, lt=…)``. Other rules go into ``__post_init__``, which raises
:class:`WrongSettings` with all problems by key, or ``ValueError`` with a message for people.
"""

from __future__ import annotations

from kgw_core.spi.settings._environment import overlay
from kgw_core.spi.settings._report import Place, Report, entry
from kgw_core.spi.settings._table import read_into, read_table
from kgw_core.spi.settings._types import (
    ConfigError,
    Duration,
    FromEnv,
    Given,
    KafkaConfigs,
    Rest,
    Secret,
    Size,
    WrongSettings,
)
from kgw_core.spi.settings._units import (
    GiB,
    KiB,
    MiB,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from kgw_core.spi.settings._words import expected, nearest

__all__ = [
    "ConfigError",
    "Duration",
    "FromEnv",
    "GiB",
    "Given",
    "KafkaConfigs",
    "KiB",
    "MiB",
    "Place",
    "Report",
    "Rest",
    "Secret",
    "Size",
    "WrongSettings",
    "entry",
    "expected",
    "format_duration",
    "format_size",
    "nearest",
    "overlay",
    "parse_duration",
    "parse_size",
    "read_into",
    "read_table",
]
