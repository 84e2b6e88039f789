"""The store that a config file describes, for commands that look at data beside the broker."""

from __future__ import annotations

from pathlib import Path

import click

from kgw_core.config import load
from kgw_core.plugins import select_storage
from kgw_core.spi.settings import ConfigError
from kgw_core.spi.storage import LogStore


def configured_store(path: Path) -> LogStore:
    """The store, not open. :raises click.ClickException: the file or its plugin cannot be used."""
    try:
        storage = load(path).storage
        return select_storage(storage.use, storage.settings, where=str(path))
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
