"""The scenes, by what they are about. Importing this package makes :mod:`tools.replay.scene` know them."""

from tools.replay.scenes import (
    admin,
    configs,
    fetching,
    groups,
    metadata,
    offsets,
    producing,
    topics,
)

__all__ = ["admin", "configs", "fetching", "groups", "metadata", "offsets", "producing", "topics"]
