"""Log lines for operators: one for each notable event of a client, and none twice.

The lines go to the logger ``kgw``. The CLI decides about the output.
"""

from __future__ import annotations

import logging

from kgw_core.errors import KafkaError, error_name

logger = logging.getLogger("kgw")

_MOST_REPORTED = 200
"""The most different errors that are logged for one connection. Later ones are only counted."""


_SHOWN = 300
"""The most characters of a client's text in a log line."""


def shown(text: str, most: int = _SHOWN) -> str:
    """``text`` of a client as a part of one log line: without line breaks, and cut."""
    if len(text) > most:
        text = f"{text[:most]}… ({len(text)} characters)"
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class Client:
    """The client of one connection, for handlers and log lines.

    ``host`` and ``port`` are the client's own. ``advertised`` is the broker's address for this client.
    ``software_name`` and ``software_version`` come from its ApiVersions request (KIP-511).
    """

    __slots__ = (
        "_reported",
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
        self._reported: set[int] = set()

    def __str__(self) -> str:
        name = f" ({shown(self.client_id, 100)})" if self.client_id else ""
        return f"{self.host}:{self.port}{name}"

    def introduced(self, software_name: str, software_version: str) -> None:
        """The client has sent its software's name and version."""
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
        """A request of this client met a fault of the gateway."""
        logger.error("%s of client %s failed: %r", api, self, error, exc_info=error)

    def sent_error(self, api: str, error: KafkaError, where: str) -> None:
        """An answer has an error code. The first of its kind on this connection is logged."""
        kind = hash((api, error.code, where))  # without the text, which may be long
        if kind in self._reported or len(self._reported) >= _MOST_REPORTED:
            self.unreported += 1
            logger.debug("again: %s %s %s: %s", self, api, error_name(error.code), error)
            return
        self._reported.add(kind)
        place = f" {shown(where)}" if where else ""
        message = shown(str(error))
        logger.info("client %s got %s from %s%s: %s", self, error_name(error.code), api, place, message)
