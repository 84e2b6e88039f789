"""The store that a config file describes, for commands that look at data beside the broker."""

from __future__ import annotations

from pathlib import Path

from kgw_core.cli.failing import refused
from kgw_core.config import read_file
from kgw_core.config_validation import checked
from kgw_core.spi.settings import ConfigError
from kgw_core.spi.storage import LogStore


def configured_store(path: Path) -> LogStore:
    """The store, not open. :raises click.ClickException: the file or its plugin cannot be used."""
    try:
        storage = checked(read_file(path)).storage
        assert storage is not None
        return storage.make()
    except ConfigError as error:
        raise refused(error) from None
