"""How many files the process may have open, as each connection is one.

Where a system's usual limit is 1,024 files, the 1,025th connection would take the descriptor that the storage
wants next. So the command asks for as many as its connections need, and has fewer connections where the
system does not give them.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from kgw_core.config import Config

logger = logging.getLogger("kgw")

SPARE: Final = 200
"""For the storage, listeners, logs and what else there is beside connections."""


def with_room(config: Config) -> Config:
    """The config, with no more connections than the process may have."""
    most = config.limits.max_connections
    allowed = _allow(most)
    if allowed >= most:
        return config
    logger.warning(
        "of %d connections (limits.max_connections) there can be %d: the system lets this process have too "
        "few open files; `ulimit -n %d`, or LimitNOFILE of its systemd unit, would do",
        most,
        allowed,
        most + SPARE,
    )
    limits = msgspec.structs.replace(config.limits, max_connections=allowed)
    return msgspec.structs.replace(config, limits=limits)


def _allow(connections: int) -> int:
    """Ask for as many files as these need; how many connections there may be."""
    try:
        import resource
    except ImportError:  # Windows counts no sockets
        return connections
    wanted = connections + SPARE
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not _enough(now, wanted):
        best = wanted if _enough(most, wanted) else most
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (best, most))
        except (OSError, ValueError):  # macOS has another limit below the one that it tells
            pass
        else:
            now = best
    return connections if _enough(now, wanted) else max(now - SPARE, now // 2, 1)


def _enough(files: int, wanted: int) -> bool:
    return files < 0 or files >= wanted  # RLIM_INFINITY is -1
