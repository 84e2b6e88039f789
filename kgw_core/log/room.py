"""The budget of waiting appends: the bytes of each, and the refusal of more."""

from __future__ import annotations

from kgw_core.budget import Budget
from kgw_core.errors import KafkaStorageError
from kgw_core.spi.storage import Buffer, TopicPartition

QUEUED = 1024
"""The bytes of a waiting append beside those of its batch."""


def check_room(budget: Budget, tp: TopicPartition) -> None:
    """Return if another append may wait. :raises KafkaStorageError: too much waits for the storage."""
    if budget.exhausted:
        raise KafkaStorageError(
            f"{tp}: not taken, as requests and appends that wait for the storage take {budget.used} "
            f"bytes, more than {budget.limit} (limits.max_total_in_flight_bytes)"
        )


def take_room(budget: Budget, data: Buffer) -> None:
    """The batch waits from now on."""
    budget.take(len(data) + QUEUED)


def give_room(budget: Budget, data: Buffer) -> None:
    """The batch waits no more."""
    budget.give(len(data) + QUEUED)
