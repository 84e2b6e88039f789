"""The store of a config file, for commands that read the data of a broker directly."""

from __future__ import annotations

from pathlib import Path

from kgw_core.cli.failing import refused
from kgw_core.config import read_file
from kgw_core.config_validation import checked
from kgw_core.spi.settings import ConfigError
from kgw_core.spi.storage import LogStore


def configured_store(path: Path) -> LogStore:
    """Make the store, but do not open it. :raises click.ClickException: the file or plugin cannot be used."""
    try:
        storage = checked(read_file(path)).storage
        assert storage is not None
        return storage.make()
    except ConfigError as error:
        raise refused(error) from None
