"""Every broken store's test class; not collected by itself, test_suite_catches.py runs it."""

from __future__ import annotations

import broken_durable
import broken_reads
import broken_writes
from broken_base import CAUGHT, SUITES

__all__ = ["CAUGHT", "broken_durable", "broken_reads", "broken_writes"]

globals().update(SUITES)
