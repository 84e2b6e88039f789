from __future__ import annotations

import pytest

from kgw_core.errors import InvalidProducerEpoch, OutOfOrderSequenceNumber
from kgw_core.log.producers import WINDOW, Appended, Producers

LAST = 2**31 - 1


def filled(*batches: tuple[int, int], epoch: int = 0) -> Producers:
    """Producer 1 after these batches (first and last sequence); their outcome is the first sequence."""
    producers = Producers()
    for first, last in batches:
        producers.put(1, epoch, first, last, Appended(first), 100)
    return producers


@pytest.mark.parametrize("first", [0, 1, 77, LAST])
def test_a_producer_that_is_not_known_may_begin_anywhere(first: int) -> None:
    assert Producers().find(1, 0, first, first) is None


def test_the_next_batch_goes_on_where_the_last_one_ended() -> None:
    producers = filled((0, 4))
    assert producers.find(1, 0, 5, 9) is None


@pytest.mark.parametrize("first", [6, 7, 100, LAST])
def test_a_gap_is_out_of_order(first: int) -> None:
    with pytest.raises(OutOfOrderSequenceNumber, match=f"sent sequence {first}, expected 5"):
        filled((0, 4)).find(1, 0, first, first)


def test_each_of_the_last_five_batches_is_known_again() -> None:
    batches = [(at, at + 1) for at in range(0, 2 * WINDOW, 2)]
    producers = filled(*batches)
    for first, last in batches:
        assert producers.find(1, 0, first, last) == Appended(first)


def test_a_batch_older_than_the_window_is_out_of_order() -> None:
    producers = filled(*[(at, at) for at in range(WINDOW + 1)])
    with pytest.raises(OutOfOrderSequenceNumber):
        producers.find(1, 0, 0, 0)
    assert producers.find(1, 0, 1, 1) == Appended(1)


@pytest.mark.parametrize("span", [(0, 3), (0, 5), (1, 4), (3, 4)])
def test_a_batch_that_is_cut_otherwise_than_before_is_no_duplicate(span: tuple[int, int]) -> None:
    with pytest.raises(OutOfOrderSequenceNumber):
        filled((0, 4)).find(1, 0, *span)


def test_after_the_highest_number_comes_zero() -> None:
    producers = filled((LAST - 1, LAST))
    assert producers.find(1, 0, 0, 3) is None
    with pytest.raises(OutOfOrderSequenceNumber):
        producers.find(1, 0, 1, 3)


def test_a_batch_across_the_highest_number_is_known_again_and_followed() -> None:
    producers = filled((LAST - 1, 1))  # LAST - 1, LAST, 0, 1
    assert producers.find(1, 0, LAST - 1, 1) == Appended(LAST - 1)
    assert producers.find(1, 0, 2, 2) is None


def test_a_new_epoch_begins_at_zero_and_forgets_the_old_window() -> None:
    producers = filled((0, 4))
    with pytest.raises(OutOfOrderSequenceNumber, match="begins epoch 1 with sequence 5"):
        producers.find(1, 1, 5, 5)
    assert producers.find(1, 1, 0, 4) is None
    producers.put(1, 1, 0, 4, Appended(50), 100)
    assert producers.find(1, 1, 0, 4) == Appended(50)


def test_an_old_epoch_is_fenced_even_with_a_batch_it_wrote() -> None:
    producers = filled((0, 4), epoch=3)
    with pytest.raises(InvalidProducerEpoch, match="has epoch 3 here"):
        producers.find(1, 2, 0, 4)


def test_an_epoch_that_is_none_begins_nothing() -> None:
    with pytest.raises(InvalidProducerEpoch, match="has epoch -2"):
        Producers().find(1, -2, 0, 0)


def test_producers_do_not_know_of_each_other() -> None:
    assert filled((0, 4)).find(2, 0, 0, 4) is None


def test_an_append_under_way_is_answered_with_and_then_replaced_by_its_outcome() -> None:
    producers, pending = Producers(), object()
    producers.put(1, 0, 0, 0, pending, 100)
    assert producers.find(1, 0, 0, 0) is pending
    producers.settle(1, pending, Appended(12))
    assert producers.find(1, 0, 0, 0) == Appended(12)


def test_what_is_settled_after_it_left_the_window_is_forgotten() -> None:
    producers, pending = Producers(), object()
    producers.put(1, 0, 0, 0, pending, 100)
    for sequence in range(1, WINDOW + 1):
        producers.put(1, 0, sequence, sequence, Appended(sequence), 100)
    producers.settle(1, pending, Appended(0))
    producers.settle(99, pending, Appended(0))
    with pytest.raises(OutOfOrderSequenceNumber):
        producers.find(1, 0, 0, 0)


def test_producers_that_were_silent_for_long_are_forgotten() -> None:
    producers = Producers()
    for producer_id, time in ((1, 100), (2, 200), (3, 300)):
        producers.put(producer_id, 0, 0, 0, Appended(0), time)
    assert producers.expire(200) == 1
    assert sorted(producer_id for producer_id, _ in producers) == [2, 3]
    assert producers.find(1, 0, 500, 500) is None
