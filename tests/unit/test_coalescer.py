"""Calls that are requested many times are made once, at the end."""

from __future__ import annotations

import logging

import pytest

from kgw_core.coalescer import Coalescer


class Caller:
    def __init__(self, calls: list[str], name: str) -> None:
        self.calls, self.name = calls, name

    def call(self) -> None:
        self.calls.append(self.name)


def test_it_is_done_at_once_while_closed_and_once_at_the_end_while_open() -> None:
    calls: list[str] = []
    coalescer, first, second = Coalescer(), Caller(calls, "first"), Caller(calls, "second")
    coalescer.call(first.call)
    assert calls == ["first"]
    with coalescer:
        for _ in range(3):
            coalescer.call(second.call)
            coalescer.call(first.call)
        assert calls == ["first"]
    assert calls == ["first", "second", "first"]
    coalescer.call(first.call)
    assert calls[3:] == ["first"]


def test_what_fails_is_logged_and_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []
    coalescer, caller = Coalescer(), Caller(calls, "after")

    def fails() -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR), coalescer:
        coalescer.call(fails)
        coalescer.call(caller.call)
    assert calls == ["after"]
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_what_is_asked_for_at_the_end_is_done_then() -> None:
    calls: list[str] = []
    coalescer, caller = Coalescer(), Caller(calls, "later")
    with coalescer:
        coalescer.call(lambda: coalescer.call(caller.call))
    assert calls == ["later"]


def test_it_is_done_though_the_block_fails() -> None:
    calls: list[str] = []
    coalescer, caller = Coalescer(), Caller(calls, "done")
    with pytest.raises(ZeroDivisionError), coalescer:
        coalescer.call(caller.call)
        raise ZeroDivisionError
    assert calls == ["done"]
