"""Requests of every served API and version with something wrong inside."""

from __future__ import annotations

from collections.abc import Callable

from kgw_core.wire import MalformedMessage
from tests.fuzz import mutate, seeds
from tests.fuzz.attack import ANSWERED, Attack, Finding, Link, framed
from tests.fuzz.frames import rounds

PATIENCE = 0.05
"""Seconds until an answer counts as one that the request itself has to wait for, such as a long poll's."""

UNANSWERED = b"not answered by its nature"
_PRODUCE = 0


def _play(mutators: tuple[mutate.Mutator, ...], *, flexible_only: bool = False) -> Callable[[Attack], None]:
    def play(attack: Attack) -> None:
        rng = attack.rng
        every = [each for each in seeds.served() if not flexible_only or _is_flexible(each)]
        link: Link | None = None
        try:
            for turn in rounds(attack, len(every)):
                seed = seeds.seed(*every[turn % len(every)], rng)
                mutator = mutators[
                    turn // len(every) % len(mutators) if attack.seconds else rng.randrange(len(mutators))
                ]
                if rng.random() < 0.9:
                    data = seed.head + mutator(seed.body, rng)
                else:  # the header, too; its correlation id stays
                    data = seed.head[:8] + mutator(seed.head[8:], rng) + seed.body
                if link is None:
                    link = attack.link()
                link.send(framed(data))
                answer = link.answer(PATIENCE)
                if isinstance(answer, bytes):
                    _check(seed, data, answer)
                    attack.count(ANSWERED)
                    continue
                attack.count(answer)
                link.socket.close()
                link = None
        finally:
            if link is not None:
                link.socket.close()

    return play


def _is_flexible(each: tuple[int, int]) -> bool:
    return seeds.header(*each)[-1:] == b"\0" and each[1] > 0


def _check(seed: seeds.Seed, data: bytes, answer: bytes) -> None:
    try:
        seeds.check_answer(seed, answer)
    except MalformedMessage as error:
        raise Finding(f"{seed.name}: {data.hex()} got an answer that is none: {error}") from None


def valid(attack: Attack) -> None:
    """The seeds as they are: every request is well formed, whatever it asks for."""
    _play((lambda data, _: data,))(attack)


mutated = _play((mutate.flipped, mutate.cut, mutate.inserted))
huge_counts = _play((mutate.huge_count,))
invalid_text = _play((mutate.not_utf8,))
tagged_fields = _play((mutate.tagged,), flexible_only=True)
