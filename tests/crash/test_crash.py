"""A few rounds of the crash test; `python -m tests.crash --rounds 200` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.__main__ import storage_of
from tests.crash.broker import Broker
from tests.crash.groups import Places
from tests.crash.history import Compacted, History, Trimmed, Whole
from tests.crash.records import (
    Headers,
    Wrong,
    compacted_headers,
    compacted_key,
    headers,
    is_tombstone,
    key,
    value,
)
from tests.crash.run import run


@pytest.mark.timeout(300)
def test_kill_9_at_random_moments_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Clients that go on over five deaths of the gateway find all that they were told of."""
    report = run(tmp_path, storage_of(tmp_path, "full", 0), rounds=5, seed=7, say=print)
    print(report)
    assert report.kills >= 5
    assert report.acknowledged > 500
    assert report.commits > 20


@pytest.mark.timeout(300)
def test_nor_does_a_storage_that_fails(tmp_path: Path) -> None:
    """It refuses, is slow, and raises before or after it has written, between and while it is killed."""
    report = run(tmp_path, storage_of(tmp_path, "full", 0.02), rounds=4, seed=11, say=print, faults=True)
    print(report)
    assert report.acknowledged > 500
    assert report.gone > 0 and report.trims > 0, "nothing was deleted"
    left, sent = report.compacted
    assert left < sent / 2, "nothing was compacted"


LOG = """\
12:00:00 ERROR one that was made
Traceback (most recent call last):
  File "a.py", line 1, in a
    b()
ValueError: x

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 2, in a
tests.crash.erratic.Injected: before
12:00:01 ERROR another
Traceback (most recent call last):
  File "a.py", line 3, in a
{}
12:00:02 INFO something
"""


@pytest.mark.parametrize(
    ("last", "found"), [("KeyError: 1", ["KeyError: 1"]), ("KafkaStorageError: injected: refused", [])]
)
def test_tracebacks_that_tell_of_no_fault_that_was_made_are_found(
    tmp_path: Path, last: str, found: list[str]
) -> None:
    broker = Broker(tmp_path, 'use = "memory"')
    broker.log_path.write_text(LOG.format(last))
    assert broker.tracebacks() == found


class Found:
    """A message as a consumer gives it."""

    def __init__(self, offset: int, producer: int, number: int, data: bytes | None = None) -> None:
        self._offset = offset
        self._producer = producer
        self._number = number
        self._data = data if data is not None else value(producer, 0, number, 100)

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes | None:
        return self._data

    def key(self) -> bytes | None:
        return key(self._number)

    def headers(self) -> Headers | None:
        return headers(self._producer, self._number)


class Keyed(Found):
    """A message of the compacted topic."""

    def value(self) -> bytes | None:
        return None if is_tombstone(self._number) else self._data

    def key(self) -> bytes | None:
        return compacted_key(self._number)

    def headers(self) -> Headers | None:
        return compacted_headers(self._producer, self._number)


def read(history: History, found: list[Found], *, start: int = 0, end: int | None = None) -> None:
    """Compare the log with the acknowledgements."""
    begin = history.begin(0, start)
    for message in found:
        if message.offset() >= begin:
            history.found(message)  # type: ignore[arg-type]
    if end is None:
        end = found[-1].offset() + 1 if found else start
    history.read(0, start, end, history.known()[0])


TORN = value(0, 0, 1, 100)[:-1]
WRONG_LOGS = {
    "lost": ([Found(0, 0, 0)], "ends before"),
    "elsewhere": ([Found(0, 0, 0), Found(1, 1, 0), Found(2, 0, 1)], "offset 1 has"),
    "twice": ([Found(0, 0, 0), Found(1, 0, 1), Found(2, 0, 1)], "again"),
    "late": ([Found(0, 0, 0), Found(1, 0, 1), Found(2, 0, 3), Found(3, 0, 2)], "comes after"),
    "missing": ([Found(0, 0, 0), Found(1, 0, 2)], "comes after"),
    "torn": ([Found(0, 0, 0), Found(1, 0, 1, TORN)], "not what was sent"),
    "gap": ([Found(0, 0, 0), Found(2, 0, 1)], "follows"),
}


@pytest.mark.parametrize("case", WRONG_LOGS)
def test_what_must_not_be_is_seen(case: str) -> None:
    """The test of the test: producer 0 is idempotent and was told of its first two records."""
    history = Whole("t", 1, {0})
    history.told(0, 0, 0, 0)
    history.told(0, 0, 1, 1)
    found, complaint = WRONG_LOGS[case]
    with pytest.raises(Wrong, match=complaint):
        read(history, found)


def test_an_offset_that_is_acknowledged_twice_is_seen() -> None:
    history = Whole("t", 1, {0})
    history.told(0, 0, 0, 0)
    with pytest.raises(Wrong, match="was acknowledged to"):
        history.told(1, 0, 0, 0)


def test_an_acknowledgement_without_an_offset_is_right_for_idempotent_producers_only() -> None:
    history = Whole("t", 1, {0})
    history.told(0, 0, 4, None)
    assert history.implied == {(0, 0): 4} and not history.count()
    with pytest.raises(Wrong, match="was acknowledged nowhere"):
        history.told(1, 0, 0, None)


def test_a_plain_producer_may_be_there_twice_and_late() -> None:
    history = Whole("t", 1, set())
    history.told(0, 0, 0, 0)
    history.told(0, 0, 1, 3)
    read(history, [Found(offset, 0, number) for offset, number in enumerate((0, 2, 0, 1))])
    assert history.duplicates == 1
    assert history.orders[0].count(0) == 3


def four_told(history: History) -> None:
    for number in range(4):
        history.told(0, 0, number, number)


def test_what_was_deleted_at_the_front_need_not_be_there() -> None:
    history = Trimmed("t", 1, {0})
    four_told(history)
    read(history, [Found(n, 0, n) for n in range(4)])
    read(history, [Found(n, 0, n) for n in (2, 3)], start=2)
    read(history, [], start=4)
    assert history.starts == {0: 4}


WRONG_TRIMMED = {
    "lost": ([Found(2, 0, 2)], 2, 3, "ends before"),
    "another": ([Found(2, 0, 2), Found(3, 1, 3)], 2, 4, "offset 3 has"),
    "back": ([Found(n, 0, n) for n in range(4)], 0, 4, "began at 1, now at 0"),
    "gap": ([Found(1, 0, 1), Found(3, 0, 3)], 1, 4, "follows"),
    "twice": ([Found(n, 0, min(n, 3)) for n in range(1, 5)], 1, 5, "again"),
    "unread": ([Found(1, 0, 1)], 1, 4, "was read to"),
    "changed": ([Found(1, 0, 0), Found(2, 0, 1)], 1, 3, "and had"),
}


@pytest.mark.parametrize("case", WRONG_TRIMMED)
def test_what_must_not_be_in_a_trimmed_log_is_seen(case: str) -> None:
    history = Trimmed("t", 1, {0})
    four_told(history)
    read(history, [Found(n, 0, n) for n in range(1, 4)], start=1)
    found, start, end, complaint = WRONG_TRIMMED[case]
    with pytest.raises(Wrong, match=complaint):
        read(history, found, start=start, end=end)


SAME = [n for n in range(400) if compacted_key(n) == compacted_key(7)]
"""Numbers of records with one key; the fourth is a tombstone."""


def compacted() -> Compacted:
    history = Compacted("t", 1, 0)
    history.sent[0] = SAME[3] + 1
    return history


def test_some_of_those_numbers_are_what_the_tests_need() -> None:
    assert [is_tombstone(number) for number in SAME[:4]] == [False, False, False, True]


def test_what_was_replaced_need_not_be_there() -> None:
    history = compacted()
    for offset, number in enumerate(SAME[:3]):
        history.told(0, 0, number, offset)
    read(history, [Keyed(2, 0, SAME[2])])
    read(history, [Keyed(3, 0, SAME[3])])
    history.told(0, 0, SAME[3], 3)
    read(history, [])


WRONG_COMPACTED = {
    "lost": (SAME[:3], [Keyed(1, 0, SAME[1])], "the last there is"),
    "nothing": (SAME[:3], [], None),
    "undeleted": (SAME[:4], [Keyed(2, 0, SAME[2])], "the last there is"),
    "twice": (SAME[:2], [Keyed(1, 0, SAME[1]), Keyed(2, 0, SAME[1])], "again"),
    "late": (SAME[:2], [Keyed(1, 0, SAME[1]), Keyed(2, 0, SAME[0])], "again, or late"),
    "elsewhere": (SAME[:2], [Keyed(1, 0, SAME[2])], "not Entry"),
    "torn": (SAME[:1], [Keyed(0, 0, SAME[0], TORN)], "not what was sent"),
}


@pytest.mark.parametrize("case", WRONG_COMPACTED)
def test_what_must_not_be_in_a_compacted_log_is_seen(case: str) -> None:
    history = compacted()
    told, found, complaint = WRONG_COMPACTED[case]
    for offset, number in enumerate(told):
        history.told(0, 0, number, offset)
    if complaint is None:  # a tombstone that was sent may have replaced all, and have gone itself
        read(history, found)
        history.sent[0] = SAME[2] + 1
        complaint = "missing"
    with pytest.raises(Wrong, match=complaint):
        read(history, found)


def test_records_that_a_group_skips_are_seen() -> None:
    places = Places("t")
    after = places.got([Found(0, 0, 0), Found(1, 0, 1)], {0})  # type: ignore[list-item]
    places.committed(after)
    with pytest.raises(Wrong, match="it was read to 2 only"):
        places.got([Found(3, 0, 3)], set())  # type: ignore[list-item]


def test_a_place_of_a_group_that_goes_back_is_seen() -> None:
    places = Places("t")
    places.committed(places.got([Found(0, 0, 0), Found(1, 0, 1)], {0}))  # type: ignore[list-item]
    places.got([Found(2, 0, 2)], {0})  # type: ignore[list-item]
    with pytest.raises(Wrong, match="2 was acknowledged"):
        places.got([Found(1, 0, 1)], {0})  # type: ignore[list-item]
