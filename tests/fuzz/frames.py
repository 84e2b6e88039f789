"""Frames that are no request (random bytes, wrong lengths, halves, unknown APIs), and slow valid ones."""

from __future__ import annotations

import struct
import time

from kgw_core.wire import index
from tests.fuzz import seeds
from tests.fuzz.attack import ANSWERED, CLOSED, Attack, Finding, framed

HELLO = framed(seeds.header(18, 0))


def _rounds(attack: Attack, least: int) -> range | _Timed:
    return range(least) if attack.seconds == 0 else _Timed(attack)


class _Timed:
    """Counts while there is time."""

    def __init__(self, attack: Attack) -> None:
        self._attack = attack
        self._at = -1

    def __iter__(self) -> _Timed:
        return self

    def __next__(self) -> int:
        self._at += 1
        if not self._attack.going:
            raise StopIteration
        return self._at


def rounds(attack: Attack, least: int) -> range | _Timed:
    """``least`` rounds, or as many as there is time for."""
    return _rounds(attack, least)


def must_close(attack: Attack, data: bytes) -> None:
    """``data`` on a connection of its own ends in a close."""
    with attack.link() as link:
        link.send(data)
        if not link.ended():
            raise Finding(f"not closed after {data[:60]!r}")
        attack.count(CLOSED)


def random_bytes(attack: Attack) -> None:
    """Bytes that follow no protocol: closed, or waited on for the rest of what looks like a length."""
    rng = attack.rng
    for turn in rounds(attack, 150):
        data = rng.randbytes(rng.choice((1, 3, 4, 5, 20, 200, 3_000, 70_000)))
        if turn % 2:
            data = framed(data)  # a right length, and nonsense in it
        with attack.link() as link:
            link.send(data)
            link.finish()
            if not link.ended():
                raise Finding(f"not closed after {data[:60]!r} and the end")
            attack.count(CLOSED)


def half_frames(attack: Attack) -> None:
    """The client goes away within a frame, politely or not."""
    rng = attack.rng
    for turn in rounds(attack, 150):
        seed = seeds.seed(*rng.choice(seeds.served()), rng)
        whole = framed(seed.head + seed.body)
        half = whole[: rng.randrange(1, len(whole))]
        with attack.link() as link:
            link.send(half)
            if turn % 2:
                link.finish()
                if not link.ended():
                    raise Finding("not closed")
                attack.count(CLOSED)
            else:
                attack.count("client went away")


LENGTHS = (0, -1, -2, -(2**31), 2**31 - 1, (100 << 20) + 1)


def wrong_lengths(attack: Attack) -> None:
    """Lengths that no frame may have."""
    for turn in rounds(attack, len(LENGTHS) * 5):
        data = struct.pack(">i", LENGTHS[turn % len(LENGTHS)])
        must_close(attack, (HELLO if turn % 2 else b"") + data + attack.rng.randbytes(8 + 20 * (turn % 3)))


def slow_trickles(attack: Attack) -> None:
    """Valid requests, byte by byte, on many connections at once: answered."""
    for _ in rounds(attack, 1):
        links = [attack.link() for _ in range(30)]
        try:
            for at in range(len(HELLO)):
                for link in links:
                    link.send(HELLO[at : at + 1])
                time.sleep(0.002)
            for link in links:
                if not isinstance(link.answer(), bytes):
                    raise Finding("a slow request was not answered")
                attack.count(ANSWERED)
        finally:
            for link in links:
                link.socket.close()


def unknown_apis(attack: Attack) -> None:
    """API keys and versions that there are not, or not here: closed; ApiVersions is answered."""
    rng = attack.rng
    served = set(seeds.served())
    keys = {key for key, _ in served}
    for _turn in rounds(attack, 120):
        key = rng.choice(
            (rng.randrange(-(2**15), 2**15), rng.choice(list(index.APIS)), rng.choice(list(keys)))
        )
        version = rng.choice((-1, -(2**15), 2**15 - 1, rng.randrange(30), 99))
        if (key, version) in served:
            continue
        data = framed(struct.pack(">hhih", key, version, 7, -1) + rng.randbytes(rng.choice((0, 10))))
        if key != 18:
            must_close(attack, data)
            continue
        with attack.link() as link:
            link.send(data)
            answer = link.answer()
            if not isinstance(answer, bytes) or answer[4:6] != b"\0\x23":
                raise Finding(f"an unknown ApiVersions got {answer!r}")
            attack.count("UNSUPPORTED_VERSION")


def half_close(attack: Attack) -> None:
    """Requests, then the end: all are answered, then the gateway closes, which is no news for its log."""
    for _turn in rounds(attack, 60):
        with attack.link() as link:
            count = attack.rng.choice((1, 2, 50))
            link.send(HELLO * count)
            link.finish()
            for _ in range(count):
                if not isinstance(link.answer(), bytes):
                    raise Finding("a request before the end was not answered")
                attack.count(ANSWERED)
            if link.answer(10) != CLOSED:
                raise Finding("not closed after the client's end")
            del attack.closed_ports[link.port]  # the client ended it: no line


def slow_loris(attack: Attack) -> None:
    """Frames that begin and go on for ever, a byte at a time: closed at ``limits.frame_timeout``.

    Connections that never ask anything are closed at ``limits.handshake_timeout``.
    """
    for _ in rounds(attack, 1):
        links = [attack.link() for _ in range(60)]
        try:
            for number, link in enumerate(links):
                if number % 3 == 0:
                    link.send(HELLO + struct.pack(">i", 50 << 20))
                elif number % 3 == 1:
                    link.send(HELLO + b"\0\0")
            began = time.monotonic()
            while not all(link.closed for link in links):
                if time.monotonic() - began > 12:
                    raise Finding(f"{sum(not link.closed for link in links)} not closed within 12 s")
                for number, link in enumerate(links):
                    if number % 3 == 0 and not link.closed:
                        link.send(b"x")
                    link.ended(0.001)
                time.sleep(0.05)
            for _ in links:
                attack.count(CLOSED)
        finally:
            for link in links:
                link.socket.close()
