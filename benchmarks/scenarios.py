"""What is measured: the rows of the table, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A column of a row: which figure of a measurement it shows."""

    key: str
    unit: str
    goal: str = ""
    """Of kgw: ``>= 0.95 best`` against the best peer, ``<= 0.8 kafka`` against one, ``<= 8`` as it is."""
    more_is_better: bool = False
    digits: int = 1


RATE = Figure("mb_s", "MB/s", ">= 0.95 best", more_is_better=True, digits=0)
COST = Figure("cpu_ms_mb", "ms/MB", "<= 1 best", digits=2)


@dataclass(frozen=True)
class Scenario:
    """One row. ``load``: a load of ``benchmarks.loads`` with ``spec``, or one that the runner does itself."""

    key: str
    title: str
    load: str
    figures: tuple[Figure, ...]
    spec: Mapping[str, Any] = field(default_factory=dict)
    partitions: int = 1
    reads: str = ""
    """The scenario that wrote the topic that is read here."""
    fresh: bool = False
    """Against a server that was started for it, not against the one that runs all along."""
    once: bool = False
    """In the first round only: what is the same each time, and takes long."""
    only_kgw: bool = False
    needs: tuple[int, ...] = ()
    """API keys that a server has to have."""


JOIN_GROUP = 11


def scenarios(full: bool) -> tuple[Scenario, ...]:
    """The rows, with short loads or long ones."""
    big = 768 if full else 192
    bulk = {"megabytes": big, "warm_up": big / 4}
    few = {"megabytes": big / 2, "warm_up": big / 8}
    passes = 2 if full else 3
    seconds = {"seconds": 5.0 if full else 2.0, "warm_up": 2.0 if full else 1.0}
    long = {"seconds": 8.0 if full else 3.0, "warm_up": 2.0 if full else 1.0}
    microseconds = "us/req"
    retained_4k, retained_100 = (40_000, 400_000) if full else (15_000, 100_000)
    return (
        Scenario(
            "produce-1k-1p", "produce 1 KB, 1 partition", "produce", (RATE, COST), {"size": 1000} | bulk
        ),
        Scenario(
            "produce-1k-6p", "produce 1 KB, 6 partitions", "produce", (RATE, COST), {"size": 1000} | bulk, 6
        ),
        Scenario(
            "produce-100-6p",
            "produce 100 B, 6 partitions",
            "produce",
            (
                Figure("krecords_s", "k records/s", ">= 0.95 best", more_is_better=True, digits=0),
                COST,
            ),
            {"size": 100} | few,
            6,
        ),
        Scenario(
            "produce-100k-6p",
            "produce 100 KB, 6 partitions",
            "produce",
            (RATE, COST),
            {"size": 100_000} | bulk,
            6,
        ),
        Scenario(
            "consume-1k-1p",
            "consume 1 KB, 1 partition",
            "consume",
            (RATE, COST),
            {"passes": passes},
            reads="produce-1k-1p",
        ),
        Scenario(
            "consume-100k-6p",
            "consume 100 KB, 6 partitions",
            "consume",
            (RATE, COST),
            {"passes": passes},
            6,
            reads="produce-100k-6p",
        ),
        Scenario(
            "groups",
            "4 consumer groups of 2, 1 KB, 6 partitions",
            "groups",
            (RATE, COST),
            {"groups": 4, "members": 2},
            6,
            reads="produce-1k-6p",
            needs=(JOIN_GROUP,),
        ),
        Scenario(
            "memory-after",
            "memory after the bulk rows",
            "memory_after",
            (Figure("rss_mb", "MB", digits=0), Figure("rss_per_byte", "x stored", digits=2)),
        ),
        Scenario(
            "one-at-a-time",
            "one record a request, one at a time",
            "one_at_a_time",
            (
                Figure("requests_s", "req/s", more_is_better=True, digits=0),
                Figure("p50_us", "p50 us", "<= 1 kfake", digits=0),
                Figure("p99_us", "p99 us", "<= 1.1 kfake", digits=0),
                Figure("cpu_us_request", microseconds),
            ),
            {"size": 100} | seconds,
        ),
        Scenario(
            "16-producers",
            "16 producers, one record a request",
            "many_producers",
            (
                Figure("requests_s", "req/s", ">= 1.2 kafka", more_is_better=True, digits=0),
                Figure("cpu_us_request", microseconds, "<= 0.8 kafka"),
            ),
            {"size": 100, "producers": 16} | seconds,
            6,
        ),
        Scenario(
            "end-to-end",
            "end to end at 1,000/s",
            "end_to_end",
            (
                Figure("p50_us", "p50 us", "<= 1 kfake", digits=0),
                Figure("p99_us", "p99 us", "<= 1.1 kfake", digits=0),
                Figure("cpu_us_request", "us/record"),
            ),
            {"size": 100, "rate": 1000} | long,
        ),
        Scenario(
            "idle",
            "an idle connection (1,000 of them)",
            "idle_connections",
            (Figure("kib", "KiB", "<= 8"),),
            {"count": 1000},
            fresh=True,
            once=True,
        ),
        Scenario(
            "start",
            "start to first answer",
            "start",
            (Figure("start_s", "s", "<= 0.3", digits=3),),
            fresh=True,
        ),
        Scenario(
            "retained-4k",
            "a retained byte, batches of 4 KiB",
            "retained",
            (Figure("per_byte", "bytes", "<= 1.1", digits=3),),
            {"batch": 4096, "batches": retained_4k},
            fresh=True,
            once=True,
            only_kgw=True,
        ),
        Scenario(
            "retained-100",
            "a retained byte, batches of one 100 B record",
            "retained",
            (Figure("per_byte", "bytes", "<= 1.5", digits=3),),
            {"batch": 168, "batches": retained_100},
            fresh=True,
            once=True,
            only_kgw=True,
        ),
        Scenario(
            "partition",
            "a partition (10,000 of them): made, and with a record",
            "partitions",
            (Figure("kib_made", "KiB made", digits=2), Figure("kib_used", "KiB used", digits=2)),
            {"count": 10_000},
            fresh=True,
            once=True,
            only_kgw=True,
        ),
    )
