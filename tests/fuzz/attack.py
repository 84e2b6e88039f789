"""The attacker's side of a connection: sends anything, and says what became of it."""

from __future__ import annotations

import random
import select
import socket
import struct
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final, Self

Address = tuple[str, int]

CLOSED: Final = "closed"
SILENT: Final = "no answer yet"
ANSWERED: Final = "answered"

REMEMBERED: Final = 400
"""How many of the last things sent go into a reproducer."""


class Finding(AssertionError):
    """The gateway did what it must not do."""


@dataclass
class Attack:
    """One run of one class of bad input. ``seconds``: about how long it should take, 0 is one short round."""

    address: Address
    rng: random.Random
    seconds: float
    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    closed_ports: Counter[int] = field(default_factory=Counter)
    opened_ports: Counter[int] = field(default_factory=Counter)  # a port is used again after some 28,000
    sent: deque[bytes] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    began: float = field(default_factory=time.monotonic)

    @property
    def going(self) -> bool:
        """Whether there is time for another round."""
        return time.monotonic() - self.began < self.seconds

    def link(self, *, receive_buffer: int | None = None) -> Link:
        return Link(self, receive_buffer)

    def count(self, outcome: str) -> None:
        self.outcomes[outcome] += 1


class Link:
    """One connection to the gateway. Nothing here raises because the gateway closed it."""

    def __init__(self, attack: Attack, receive_buffer: int | None = None) -> None:
        self._attack = attack
        self.closed = False
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(15)
        self.socket.connect(attack.address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self.socket.getsockname()[1]
        attack.opened_ports[self.port] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self._attack.requests += 1
        self._attack.sent.append(data)
        try:
            self.socket.sendall(data)
        except (ConnectionError, BrokenPipeError):
            self._was_closed()

    def answer(self, seconds: float = 15.0) -> bytes | str:
        """The next answer without its length, or :data:`CLOSED`, or :data:`SILENT` after ``seconds``."""
        if self.closed:
            return CLOSED
        if not select.select([self.socket], [], [], seconds)[0]:
            return SILENT
        self.socket.settimeout(15)
        head = self._exactly(4)
        if head is None:
            return CLOSED
        (size,) = struct.unpack(">i", head)
        if not 4 <= size <= 110 << 20:
            raise Finding(f"an answer says that it has {size} bytes")
        body = self._exactly(size)
        if body is None:
            raise Finding("the connection was closed within an answer")
        return body

    def finish(self) -> None:
        """Say that nothing more is sent."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._was_closed()

    def ended(self, seconds: float = 15.0) -> bool:
        """Read whatever comes until the gateway closes; False if it does not within ``seconds``."""
        deadline = time.monotonic() + seconds
        while not self.closed:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return False
            try:
                if not self.socket.recv(1 << 20):
                    self._was_closed()
            except ConnectionError:
                self._was_closed()
        return True

    def _exactly(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            try:
                more = self.socket.recv(min(size - len(data), 1 << 20))
            except ConnectionError:
                more = b""
            if not more:
                self._was_closed()
                if data:
                    raise Finding(f"the connection was closed {len(data)} bytes into {size} of an answer")
                return None
            data += more
        return bytes(data)

    def _was_closed(self) -> None:
        if not self.closed:
            self.closed = True
            self._attack.closed_ports[self.port] += 1


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body
