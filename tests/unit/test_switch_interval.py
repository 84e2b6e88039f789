"""Busy threads give CPython's lock to the event loop soon."""

from __future__ import annotations

import sys

from kgw_core.workers import SWITCH_INTERVAL, quick_switches


def test_the_interval_is_short_meanwhile_and_as_before_afterwards() -> None:
    before = sys.getswitchinterval()
    with quick_switches():
        assert sys.getswitchinterval() == SWITCH_INTERVAL < before
    assert sys.getswitchinterval() == before
