"""Ledgers that break a promise; not collected by itself, test_suite_catches_ledgers.py runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from kgw_storage_memory.store import MemoryStore
from lease_ledger import Lease, LeaseLedger

from kgw_core.spi.ledger import Leader, Leadership, NotLeader, OffsetLedger
from kgw_core.spi.storage import LogStore, TopicPartition
from kgw_core.testing import OffsetLedgerSuite

CAUGHT: dict[str, str] = {}
"""The test that catches each, by the name of its class."""


def caught_by(test: str) -> Callable[[type[LeaseLedger]], type[LeaseLedger]]:
    def mark(broken: type[LeaseLedger]) -> type[LeaseLedger]:
        class Suite(OffsetLedgerSuite):
            @pytest.fixture
            def make_ledger(self, tmp_path: Path) -> Callable[[], OffsetLedger]:
                return lambda: broken(LeaseLedger.Config(tmp_path / "leases"))

            @pytest.fixture
            def store(self) -> LogStore:
                return MemoryStore()

        CAUGHT[broken.__name__] = f"test_{test}"
        Suite.__name__ = Suite.__qualname__ = f"Test{broken.__name__}"
        globals()[Suite.__name__] = Suite
        return broken

    return mark


@caught_by("a_leader_begins_where_the_log_ends")
class BeginsAtTheStart(LeaseLedger):
    async def lead(self, tp: TopicPartition) -> Leadership:
        leadership = await super().lead(tp)
        return leadership._replace(end=leadership.start)


@caught_by("offsets_go_on_without_gaps_in_each_log")
class LeavesGaps(LeaseLedger):
    def reserve(self, tp: TopicPartition, span: int) -> int:
        return super().reserve(tp, span + 1)


@caught_by("what_is_released_is_given_out_again")
class ReleasesNothing(LeaseLedger):
    def released(self, tp: TopicPartition, base: int) -> None:
        pass


@caught_by("what_is_committed_does_not_go_back")
class CommitsMoreThanThereIs(LeaseLedger):
    def committed(self, tp: TopicPartition, end: int) -> int:
        return end + 1


@caught_by("a_leader_says_that_it_leads")
class SaysThatNobodyLeads(LeaseLedger):
    def leader(self, tp: TopicPartition) -> Leader | None:
        return None


@caught_by("a_log_that_was_lost_is_led_anew_from_its_true_end")
class CountsOnFromWhatIsVoid(LeaseLedger):
    counts: dict[TopicPartition, int]

    async def lead(self, tp: TopicPartition) -> Leadership:
        self.counts = getattr(self, "counts", {})
        leadership = await super().lead(tp)
        return leadership._replace(end=max(leadership.end, self.counts.get(tp, 0)))

    def reserve(self, tp: TopicPartition, span: int) -> int:
        base = super().reserve(tp, span)
        self.counts[tp] = base + span
        return base


@caught_by("a_log_that_is_not_there_cannot_be_led")
class LeadsWhatIsNotThere(LeaseLedger):
    async def lead(self, tp: TopicPartition) -> Leadership:
        try:
            return await super().lead(tp)
        except Exception as error:
            if isinstance(error, NotLeader):
                raise
            return Leadership(0, 0, 1)


@caught_by("a_leader_may_resign")
class NeverLeadsAgain(LeaseLedger):
    async def resign(self, tp: TopicPartition, epoch: int) -> None:
        await super().resign(tp, epoch)
        self.resigned = tp

    async def lead(self, tp: TopicPartition) -> Leadership:
        if getattr(self, "resigned", None) == tp:
            raise NotLeader(tp)
        return await super().lead(tp)


class Careless(LeaseLedger):
    def _claim(self, tp: TopicPartition, leases: dict[str, Lease]) -> Lease:
        leases.clear()
        return super()._claim(tp, leases)


@caught_by("a_log_has_one_leader")
class LeadsThoughOthersDo(Careless):
    pass


@caught_by("of_two_that_begin_at_once_one_leads")
class LooksFirstAndWritesLater(LeaseLedger):
    async def _in_file(self, change: Any) -> Any:
        found: list[Any] = []

        def look(leases: dict[str, Lease]) -> None:
            found.append(change(leases))
            found.append(dict(leases))
            leases.clear()
            leases.update(before)

        before: dict[str, Lease] = {}
        await super()._in_file(lambda leases: before.update(leases))
        await super()._in_file(look)
        await anyio.sleep(0.001)

        def write(leases: dict[str, Lease]) -> None:
            leases.update(found[1])

        await super()._in_file(write)
        return found[0]


@caught_by("after_a_resignation_another_leads_at_once")
class KeepsItsLeases(LeaseLedger):
    async def resign(self, tp: TopicPartition, epoch: int) -> None:
        pass


@caught_by("the_resignation_of_an_old_leadership_changes_nothing")
class ResignsForOthers(LeaseLedger):
    async def resign(self, tp: TopicPartition, epoch: int) -> None:
        def resign(leases: dict[str, Lease]) -> None:
            for lease in leases.values():
                lease.until = 0

        await self._in_file(resign)


@caught_by("a_leader_that_is_paused_is_followed_and_fenced")
class FencesNobody(LeaseLedger):
    async def lead(self, tp: TopicPartition) -> Leadership:
        store = self._context.store
        fence, store.fence = store.fence, lambda tp, epoch: store.bounds(tp)  # type: ignore[method-assign]
        try:
            return await super().lead(tp)
        finally:
            store.fence = fence  # type: ignore[method-assign]


@caught_by("a_leader_that_is_paused_is_followed_and_fenced")
class TellsNobody(LeaseLedger):
    async def open(self, context: Any) -> None:
        await super().open(context)
        context.events.lost = lambda tp, epoch: None


@caught_by("a_leader_that_lives_keeps_what_it_leads")
class NeverRenews(LeaseLedger):
    async def _run(self) -> None:
        pass
