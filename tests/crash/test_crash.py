"""A few rounds of the crash test; `python -m tests.crash --rounds 200` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.history import History, Wrong, headers, key, value
from tests.crash.run import run


@pytest.mark.timeout(300)
def test_kill_9_at_random_moments_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Clients that go on over five deaths of the gateway find all that they were told of."""
    storage = f'use = "sqlite"\npath = "{tmp_path}/kgw.db"'
    report = run(tmp_path, storage, rounds=5, seed=7, say=print)
    print(report)
    assert report.kills >= 5
    assert report.acknowledged > 500
    assert report.commits > 20


class Found:
    """A message as a consumer gives it."""

    def __init__(self, offset: int, producer: int, number: int, data: bytes | None = None) -> None:
        self._offset = offset
        self._producer = producer
        self._number = number
        self._data = data if data is not None else value(producer, 0, number, 100)

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._data

    def key(self) -> bytes | None:
        return key(self._number)

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return headers(self._producer, self._number)


TORN = value(0, 0, 1, 100)[:-1]
LOGS = {
    "lost": ([Found(0, 0, 0)], "ends before"),
    "elsewhere": ([Found(0, 0, 0), Found(1, 1, 0), Found(2, 0, 1)], "offset 1 has"),
    "twice": ([Found(0, 0, 0), Found(1, 0, 1), Found(2, 0, 1)], "again"),
    "missing": ([Found(0, 0, 0), Found(1, 0, 2)], "comes after"),
    "torn": ([Found(0, 0, 0), Found(1, 0, 1, TORN)], "not what was sent"),
    "gap": ([Found(0, 0, 0), Found(2, 0, 1)], "follows"),
}


@pytest.mark.parametrize("case", LOGS)
def test_what_must_not_be_is_seen(case: str) -> None:
    """The test of the test: producer 0 is idempotent and was told of its first two records."""
    history = History(1, {0})
    history.told(0, 0, 0, 0)
    history.told(0, 0, 1, 1)
    found, complaint = LOGS[case]
    with pytest.raises(Wrong, match=complaint):
        for message in found:
            history.found(message)  # type: ignore[arg-type]
        history.check(all_read=True)


def test_a_plain_producer_may_be_there_twice() -> None:
    history = History(1, set())
    history.told(0, 0, 0, 0)
    history.told(0, 0, 1, 3)
    for offset, number in enumerate((0, 1, 0, 1)):
        history.found(Found(offset, 0, number))  # type: ignore[arg-type]
    history.check(all_read=True)
    assert history.duplicates == 2
