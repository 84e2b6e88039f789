"""Long polls: woken by appends and changes, ended by time, never left behind."""

from __future__ import annotations

import pytest
from broker_kit import Kit, batch, turns, view

from kgw_core.log.partition import PartitionLog
from kgw_core.log.waiting import WaitingFetch

pytestmark = pytest.mark.anyio


class Poll:
    """A waiting fetch that counts how often it was completed."""

    def __init__(self, kit: Kit, *logs: PartitionLog, missing: int = 1, seconds: float = 1) -> None:
        self.kit = kit
        self.logs = logs
        self.completed = 0
        self.fetch = WaitingFetch(logs, missing, seconds, self.complete, kit.clock, kit.logs.wakes)

    def complete(self) -> None:
        self.completed += 1

    def left_nothing(self) -> bool:
        return (
            not any(log.waiting for log in self.logs)
            and not self.kit.logs.wakes.waiting
            and not self.kit.clock.waiting
        )


async def test_an_append_to_any_of_its_logs_completes_it_after_the_turn(kit: Kit) -> None:
    await kit.topic(partitions=2)
    first, second = await kit.log(), await kit.log(partition=1)
    poll = Poll(kit, first, second)
    second.append(view(batch("a")), False)
    assert poll.completed == 0  # the producer's answer goes first
    await turns()
    assert poll.completed == 1
    assert poll.left_nothing()


async def test_bytes_of_all_its_logs_count_together(kit: Kit) -> None:
    await kit.topic(partitions=2)
    logs = [await kit.log(), await kit.log(partition=1)]
    size = len(batch("a"))
    poll = Poll(kit, *logs, missing=3 * size)
    for log in (logs[0], logs[1]):
        log.append(view(batch("a")), False)
    await turns()
    assert poll.completed == 0
    logs[0].append(view(batch("a")), False)
    await turns()
    assert poll.completed == 1


async def test_time_completes_it_once(kit: Kit) -> None:
    log = await kit.log()
    poll = Poll(kit, log, seconds=2)
    await kit.clock.advance(1.9)
    assert poll.completed == 0
    await kit.clock.advance(0.2)
    assert poll.completed == 1
    log.append(view(batch("a")), False)
    await turns()
    assert poll.completed == 1
    assert poll.left_nothing()


async def test_one_that_was_left_is_never_completed_even_if_it_was_due(kit: Kit) -> None:
    log = await kit.log()
    poll = Poll(kit, log)
    log.append(view(batch("a")), False)
    assert poll.fetch.leave() is True
    assert poll.fetch.leave() is False
    await turns()
    await kit.clock.advance(9)
    assert poll.completed == 0
    assert poll.left_nothing()


async def test_many_appends_of_one_turn_complete_it_once(kit: Kit) -> None:
    log = await kit.log()
    poll = Poll(kit, log)
    for _ in range(5):
        log.append(view(batch("a")), False)
    await turns()
    assert poll.completed == 1


async def test_deletion_and_trimming_complete_it(kit: Kit) -> None:
    log = await kit.log()
    log.append(view(batch("a")), False)
    poll = Poll(kit, log, missing=10_000)
    await log.trim(1)
    await turns()
    assert poll.completed == 1
    poll = Poll(kit, log, missing=10_000)
    await kit.catalog.delete("t")
    await turns()
    assert poll.completed == 1
    assert poll.left_nothing()


async def test_draining_completes_all(kit: Kit) -> None:
    log = await kit.log()
    polls = [Poll(kit, log, missing=10_000) for _ in range(3)]
    kit.logs.wakes.finish_all()
    assert [poll.completed for poll in polls] == [1, 1, 1]
    assert polls[0].left_nothing()
