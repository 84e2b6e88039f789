"""The budget of bytes that requests and waiting appends share."""

from __future__ import annotations

import random

import anyio
import anyio.lowlevel
import pytest

from kgw_core.budget import Budget


class Waiter:
    """Somebody who waits; ``calls`` is how often it was told to go on."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


def test_a_claim_is_granted_at_once_while_there_is_room() -> None:
    budget = Budget(100)
    assert budget.claim(60, Waiter())
    assert budget.claim(40, Waiter())
    assert (budget.used, budget.over, budget.contended) == (100, True, False)


def test_claims_past_the_limit_are_granted_in_their_order_as_room_comes() -> None:
    budget = Budget(100)
    budget.take(90)
    first, second = Waiter(), Waiter()
    assert not budget.claim(50, first)
    assert not budget.claim(5, second), "there would be room, but others were there before"
    assert budget.contended
    budget.give(30)
    assert (first.calls, second.calls, budget.used) == (0, 0, 60)
    budget.give(20)
    assert (first.calls, second.calls, budget.used) == (1, 1, 95)
    assert not budget.contended


def test_small_claims_do_not_stand_behind_large_ones_but_have_a_quarter_of_their_own() -> None:
    budget = Budget(6_400)
    large, small, other = Waiter(), Waiter(), Waiter()
    assert budget.claim(6_000, Waiter())
    assert not budget.claim(5_000, large)
    while budget.used + 100 <= 8_000:
        assert budget.claim(100, Waiter())
    assert not budget.claim(100, small)
    assert not budget.claim(101, other), "not a small one"
    budget.give(100)
    assert (small.calls, large.calls, other.calls) == (1, 0, 0)
    assert not budget.exhausted
    budget.give(6_000)
    assert (large.calls, other.calls) == (0, 0)
    budget.give(1_000)
    assert (large.calls, other.calls) == (1, 1)


def test_a_claim_over_the_whole_limit_is_granted_when_nothing_else_is_held() -> None:
    budget = Budget(100)
    assert budget.claim(500, Waiter())
    budget.give(500)
    budget.take(1)
    alone = Waiter()
    assert not budget.claim(500, alone)
    budget.give(1)
    assert alone.calls == 1


def test_who_pauses_goes_on_when_there_is_room_and_one_that_fills_it_leaves_the_others_waiting() -> None:
    budget = Budget(100)
    budget.take(100)
    second = Waiter()

    def first() -> None:
        budget.take(100)

    budget.pause(first)
    budget.pause(second)
    budget.give(1)
    assert (budget.used, second.calls) == (199, 0)
    budget.give(100)
    assert second.calls == 1


def test_nobody_goes_on_while_claims_wait() -> None:
    budget = Budget(100)
    budget.take(80)
    paused, claiming = Waiter(), Waiter()
    budget.pause(paused)
    assert not budget.claim(90, claiming)
    budget.give(10)
    assert (paused.calls, claiming.calls) == (0, 0)
    assert budget.forget(claiming)
    assert paused.calls == 1


def test_who_is_forgotten_is_not_called_and_who_stood_behind_moves_up() -> None:
    budget = Budget(100)
    budget.take(90)
    large, small, paused = Waiter(), Waiter(), Waiter()
    budget.claim(80, large)
    budget.claim(5, small)
    budget.pause(paused)
    assert budget.forget(large)
    assert small.calls == 1
    assert not budget.forget(paused)
    budget.give(90)
    assert (large.calls, paused.calls) == (0, 1), "the pause ended when the claims did"


def test_taking_past_a_quarter_over_the_limit_is_told_once_until_there_is_room_again() -> None:
    budget = Budget(100)
    told = Waiter()
    budget.on_exhausted = told
    budget.take(125)
    assert (budget.exhausted, told.calls) == (False, 0)
    budget.take(1)
    budget.take(50)
    assert (budget.exhausted, told.calls) == (True, 1)
    budget.give(60)
    budget.take(60)
    assert told.calls == 1, "there was no room yet"
    budget.give(100)
    budget.take(100)
    assert told.calls == 2


def test_whatever_is_asked_claims_never_lead_past_the_limit_and_nothing_is_lost() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        budget, held, waiting = Budget(1000), [], {}
        for _ in range(300):
            kind = rng.randrange(3)
            if kind == 0:
                size = rng.randint(1, 700)
                granted = Waiter()
                if budget.claim(size, granted):
                    held.append(size)
                else:
                    waiting[granted] = size
            elif kind == 1 and held:
                budget.give(held.pop(rng.randrange(len(held))))
            elif waiting and rng.random() < 0.3:
                forgotten = rng.choice(list(waiting))
                assert budget.forget(forgotten)
                del waiting[forgotten]
            held += [waiting.pop(each) for each in list(waiting) if each.calls]
            assert budget.used == sum(held) <= budget.most
        while held:
            budget.give(held.pop())
            held += [waiting.pop(each) for each in list(waiting) if each.calls]
        assert budget.used == 0
        assert waiting == {}


@pytest.mark.anyio
class TestHolding:
    async def test_who_holds_waits_for_its_turn_and_gives_back_whatever_happens(self) -> None:
        budget = Budget(100)
        order: list[str] = []

        async def hold(name: str, size: int, go: anyio.Event) -> None:
            async with budget.hold(size):
                order.append(name)
                await go.wait()

        first, second = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, "first", 80, first)
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(hold, "second", 50, second)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            assert (order, budget.used) == (["first"], 80)
            first.set()
            second.set()
        assert (order, budget.used) == (["first", "second"], 0)
        with pytest.raises(ZeroDivisionError):
            async with budget.hold(100):
                raise ZeroDivisionError
        assert budget.used == 0

    @pytest.mark.parametrize("granted_first", [False, True])
    async def test_who_gives_up_waiting_holds_nothing(self, granted_first: bool) -> None:
        budget = Budget(100)
        budget.take(100)

        async def hold() -> None:
            async with budget.hold(50):
                await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            if granted_first:
                budget.give(100)
                budget.take(100)
            tasks.cancel_scope.cancel()
        assert (budget.used, budget.contended) == (100, False)
