"""Raises the process's limit of open files, as each connection is one.

With a system's usual limit of 1,024 files, connections would take the descriptors that the storage needs. So
the command asks for as many files as its connections need, and admits fewer connections if the system
refuses.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from kgw_core.config import Config

logger = logging.getLogger("kgw")

SPARE: Final = 200
"""Files of the storage, listeners, logs and all others that are no connections."""


def with_room(config: Config) -> Config:
    """The config, with at most as many connections as the process may open files for."""
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
    """Ask for the files of these connections. Return how many connections are possible."""
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
        except (OSError, ValueError):  # macOS has another limit below the one that it reports
            pass
        else:
            now = best
    return connections if _enough(now, wanted) else max(now - SPARE, now // 2, 1)


def _enough(files: int, wanted: int) -> bool:
    return files < 0 or files >= wanted  # RLIM_INFINITY is -1
