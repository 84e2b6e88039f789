"""Appends that a log cannot take yet: in their order, before all that come later, and charged meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from broker_kit import done, numbered, view

from kgw_core.budget import Budget
from kgw_core.errors import KafkaStorageError
from kgw_core.log.append_queue import QUEUED, DeferredAppends, attempted, fail
from kgw_core.log.producers import Appended
from kgw_core.pending import Pending
from kgw_core.records.batch import HEADER


def refusal(pending: Pending[Appended]) -> str:
    with pytest.raises(KafkaStorageError) as raised:
        done(pending)
    return str(raised.value)


class Log:
    """Takes what it is given; ``waits``: what came of it is told later."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.waits: dict[bytes, Pending[Appended]] = {}
        self.next: DeferredAppends | None = None

    def line(self) -> DeferredAppends | None:
        return self.next

    def append(self, data: memoryview, stable: bool, validated: bool) -> Appended | Pending[Appended]:
        assert stable
        if bytes(data) == b"bad":
            raise KafkaStorageError("bad")
        self.taken.append(bytes(data))
        return self.waits.get(bytes(data), Appended(len(self.taken) - 1))


def nothing(_: object) -> None:
    """Nobody was refused."""


@pytest.fixture
def log() -> Log:
    return Log()


def deferred(*values: bytes) -> tuple[DeferredAppends, list[Pending[Appended]], Budget]:
    budget = Budget(1 << 20)
    made = DeferredAppends(budget)
    return made, [made.add(memoryview(value), True) for value in values], budget


def test_each_gets_what_comes_of_it(log: Log) -> None:
    log.waits = {b"later": Pending(), b"never": Pending()}
    line, (first, bad, later, never), _ = deferred(b"first", b"bad", b"later", b"never")
    line.append_all(log.append, nothing, log.line)
    assert done(first) == Appended(0)
    assert refusal(bad) == "bad"
    assert not later.done and not never.done
    log.waits[b"later"].resolve(Appended(7))
    log.waits[b"never"].fail(KafkaStorageError("full"))
    assert done(later) == Appended(7)
    assert refusal(never) == "full"


@pytest.mark.parametrize("value", [b"bad", b"good"])
def test_who_is_told_and_appends_more_at_once_stands_behind_all_that_waited(log: Log, value: bytes) -> None:
    line, (first, _, _), _ = deferred(value, b"b", b"c")
    first.then(lambda _: log.append(memoryview(b"d"), True, False))
    line.append_all(log.append, nothing, log.line)
    assert log.taken[-3:] == [b"b", b"c", b"d"]


def test_the_one_before_them_is_told_first(log: Log) -> None:
    line, (behind,), _ = deferred(b"b")
    head: Pending[Appended] = Pending()
    told: list[Pending[Appended]] = []
    head.then(told.append)
    behind.then(told.append)
    line.append_all(
        log.append, nothing, log.line, (head, attempted(log.append, memoryview(b"a"), validated=True))
    )
    assert (log.taken, told) == ([b"a", b"b"], [head, behind])


def test_bytes_that_do_not_stay_are_copied(log: Log) -> None:
    line = DeferredAppends(Budget(1 << 20))
    data = bytearray(b"abc")
    line.add(memoryview(data), False)
    data[:] = b"xyz"
    line.append_all(log.append, nothing, log.line)
    assert log.taken == [b"abc"]


@pytest.mark.parametrize("fails", [False, True])
def test_they_are_charged_until_they_wait_no_more(log: Log, fails: bool) -> None:
    line, pending, budget = deferred(b"a", b"bcd")
    assert budget.used == 4 + 2 * QUEUED
    if fails:
        fail(line.take(), KafkaStorageError("no"))
        assert [refusal(each) for each in pending] == ["no", "no"]
    else:
        line.append_all(log.append, nothing, log.line)
    assert budget.used == 0


def test_where_one_makes_the_others_wait_again_they_wait_as_they_did(log: Log) -> None:
    """Many batches, each validated in a thread: none is deferred twice."""
    values = [b"%d" % at for at in range(3_000)]
    line, pending, budget = deferred(*values)
    waiting: dict[bytes, Pending[Appended]] = {}

    def append(data: memoryview, stable: bool, validated: bool) -> Pending[Appended]:
        assert log.next is None, "nobody appends past those that wait"
        log.next = DeferredAppends(budget)
        waiting[bytes(data)] = Pending()
        return waiting[bytes(data)]

    refused = memoryview(bytes(100))
    line.refuse(refused)
    remembered: list[object] = []
    for at, value in enumerate(values):
        line.append_all(append, remembered.extend, log.line)
        assert remembered == []
        assert log.next is not None
        line, log.next = log.next, None
        waiting[value].resolve(Appended(at))
    assert [done(each) for each in pending] == [Appended(at) for at in range(3_000)]
    line.append_all(append, remembered.extend, log.line)
    assert len(remembered) == 1, "behind those that waited"
    assert budget.used == 0


def test_what_was_refused_is_remembered_in_its_turn(log: Log) -> None:
    """Once, but for an earlier one, or where a batch of the same producer has come since."""
    line, budget = DeferredAppends(Budget(1 << 20)), Budget(1 << 20)
    told: list[int] = []

    def batch(sequence: int, producer_id: int = 7) -> memoryview:
        return view(numbered(producer_id, sequence))

    def remember(batches: Iterable[memoryview]) -> None:
        told.extend(HEADER.unpack_from(each)[11] - 100 for each in batches)

    def append(data: memoryview, *_: bool) -> Appended:
        told.append(HEADER.unpack_from(data)[11])
        return Appended(0)

    for sequence in (3, 4, 2, 3):
        line.refuse(batch(sequence))
    line.add(batch(2), True)
    line.refuse(batch(3))
    line.refuse(memoryview(b"too short"))
    line.append_all(append, remember, lambda: None)
    assert told == [-97, -98, 2, -97]

    behind = DeferredAppends(budget)
    behind.refuse(batch(3))
    line.add(batch(3), True)
    line.append_all(append, remember, lambda: behind, (Pending(), Appended(0)))
    assert told[4:] == [3], "it makes others wait"
    line.add(batch(4), True)
    behind._take_over(line)
    behind.refuse(batch(5))
    behind.append_all(append, remember, lambda: None)
    assert told[5:] == [-97, 4, -95]
