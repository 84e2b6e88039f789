"""A broker that is asked in JSON: it answers in JSON, or closes the connection, or says nothing."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

from benchmarks import raw
from kgw_core import wire
from kgw_core.wire.json import from_json, to_json

PATIENCE: Final = 15.0
"""Seconds until no answer is an answer."""
CLOSED: Final = {"": "the connection is closed"}
SILENT: Final = {"": "no answer"}

_KEYS = {api.name: key for key, api in wire.index.APIS.items()}


class Talk:
    """Connections to one broker, by number, each made when it is first used and again after it was closed."""

    def __init__(self, address: raw.Address) -> None:
        self._address = address
        self._clients: dict[int, raw.Client] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; they are made anew when they are used."""
        for client in self._clients.values():
            client.sock.close()
        self._clients.clear()

    def versions(self) -> dict[str, tuple[int, int]]:
        """First and last version of each API that the broker advertises, by the API's name."""
        with raw.Client(self._address) as client:
            return {
                wire.index.APIS[key].name: versions
                for key, versions in client.versions.items()
                if key in wire.index.APIS
            }

    def send(self, client: int, api: str, version: int, request: dict[str, Any]) -> None:
        """Send a request. :raises ValueError: it has a value that does not fit."""
        asked = from_json(wire.message(wire.index.APIS[_KEYS[api]].request), request, version)
        connection = self._clients.get(client)
        if connection is None:
            connection = self._clients[client] = raw.Client(self._address, timeout=PATIENCE)
        connection.sock.sendall(raw.frame(asked, version))

    def receive(self, client: int, api: str, version: int, patience: float | None = None) -> dict[str, Any]:
        """The next answer on that connection; :data:`CLOSED` or :data:`SILENT` where there is none."""
        connection, key = self._clients[client], _KEYS[api]
        connection.sock.settimeout(patience or PATIENCE)
        try:
            answer = bytes(connection.receive())
        except OSError as error:
            connection.sock.close()
            del self._clients[client]
            return SILENT if isinstance(error, TimeoutError) else CLOSED
        at = 4 + wire.response_header_version(key, version)
        response = wire.decode(wire.message(wire.index.APIS[key].response), version, answer[at:])
        return to_json(response, version)

    def ask(self, client: int, api: str, version: int, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and receive its answer."""
        self.send(client, api, version, request)
        return self.receive(client, api, version)
