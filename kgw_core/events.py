"""What an operator is told: one line for each notable event, and nothing twice.

The lines go to the logger ``kgw``; the CLI decides where they are shown.
"""

from __future__ import annotations

import logging

from kgw_core.errors import KafkaError, error_name

logger = logging.getLogger("kgw")

_TOLD_MOST = 200
"""How many different errors are reported for one connection; what comes after is counted only."""


_SHOWN = 300
"""Characters of what a client says that a line of the log has."""


def shown(text: str, most: int = _SHOWN) -> str:
    """``text``, which a client may have chosen, as a part of one line: no line breaks, not endless."""
    if len(text) > most:
        text = f"{text[:most]}… ({len(text)} characters)"
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class Client:
    """One connection's client, as far as handlers, logs and describe calls want to know it.

    ``host`` and ``port`` are the client's; ``advertised`` is the address that Metadata tells it to dial.
    ``software_name`` and ``software_version`` come from its ApiVersions request (KIP-511).
    """

    __slots__ = (
        "_told",
        "advertised",
        "client_id",
        "fetch_turn",
        "host",
        "id",
        "listener",
        "port",
        "software_name",
        "software_version",
        "unreported",
    )

    def __init__(self, id: int, host: str, port: int, listener: str, advertised: tuple[str, int]) -> None:
        self.id = id
        self.host = host
        self.port = port
        self.listener = listener
        self.advertised = advertised
        self.client_id: str | None = None
        self.software_name = ""
        self.software_version = ""
        self.fetch_turn = 0
        self.unreported = 0
        self._told: set[int] = set()

    def __str__(self) -> str:
        name = f" ({shown(self.client_id, 100)})" if self.client_id else ""
        return f"{self.host}:{self.port}{name}"

    def introduced(self, software_name: str, software_version: str) -> None:
        """The client has said what it is."""
        if (software_name, software_version) != (self.software_name, self.software_version):
            self.software_name, self.software_version = software_name, software_version
            if software_name:
                logger.info(
                    "client %s connected: %s %s",
                    self,
                    shown(software_name, 100),
                    shown(software_version, 100),
                )

    def crashed(self, api: str, error: Exception) -> None:
        """A request of this client ran into a fault of the gateway."""
        logger.error("%s of client %s failed: %r", api, self, error, exc_info=error)

    def sent_error(self, api: str, error: KafkaError, where: str) -> None:
        """An answer with an error code leaves; the first of its kind on this connection is reported."""
        kind = hash((api, error.code, where))  # not the text, which may be long
        if kind in self._told or len(self._told) >= _TOLD_MOST:
            self.unreported += 1
            logger.debug("again: %s %s %s: %s", self, api, error_name(error.code), error)
            return
        self._told.add(kind)
        place = f" {shown(where)}" if where else ""
        told = shown(str(error))
        logger.info("client %s got %s from %s%s: %s", self, error_name(error.code), api, place, told)
