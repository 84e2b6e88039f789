"""Kafka's ProducerStateManager: the epochs, sequences and last five batches of idempotent producers (KIP-98).

A producer numbers its records for each partition, and a batch has the first number. The next batch has to
continue the numbers, and a batch that was appended before is acknowledged again, not appended again. The
state is tentative while a batch is queued. After a failed append a log keeps the acknowledged state, as
batches may have been deleted and cannot be read, and reads the rest again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kgw_core.errors import InvalidProducerEpoch, OutOfOrderSequenceNumber
from kgw_core.pending import Pending
from kgw_core.records.batch import NO_PRODUCER_EPOCH

WINDOW = 5
"""How many of a producer's last batches are remembered: as many as a client may have in flight."""

_SEQUENCES = 1 << 31


class Appended(NamedTuple):
    """The outcome of an append. ``log_append_time`` is in ms, or -1 with CreateTime."""

    base_offset: int
    log_append_time: int = -1


class Entry(NamedTuple):
    """One batch of the window. ``outcome`` is :class:`Appended`, or the Pending of an append in flight."""

    first_sequence: int
    last_sequence: int
    outcome: object


class Producer:
    """One producer id on one partition."""

    __slots__ = ("doubtful", "epoch", "last_sequence", "last_timestamp", "left", "window")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.last_sequence = -1
        self.last_timestamp = -1
        self.window: list[Entry] = []
        self.left: tuple[int, Entry] | None = None
        """The last acknowledged batch and its epoch, if the window had no place for it."""
        self.doubtful = False
        """Whether a later batch may have been acknowledged without a place in the window."""

    def acknowledged(self) -> Producer | None:
        """The producer without its batches in flight; None if it is new, or if that is unknown."""
        epoch = self.epoch
        window = [entry for entry in self.window if isinstance(entry.outcome, Appended)]
        if not window:
            if self.left is None or self.doubtful:
                return None
            epoch, entry = self.left
            window.append(entry)
        known = Producer(epoch)
        known.window = window
        known.last_sequence = window[-1].last_sequence
        known.last_timestamp = self.last_timestamp
        return known


class Producers:
    """All producers of one partition, by producer id."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: dict[int, Producer] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[tuple[int, Producer]]:
        return iter(self._by_id.items())

    def ids(self) -> list[int]:
        return list(self._by_id)

    def get(self, producer_id: int) -> Producer | None:
        return self._by_id.get(producer_id)

    def find(self, producer_id: int, epoch: int, first: int, last: int) -> object | None:
        """The outcome of this batch if it is a duplicate of one of the last five; else check its place and
        return None.

        ``first`` and ``last`` are the sequence numbers of its first and last record.

        :raises InvalidProducerEpoch: a newer epoch of the producer has written here, or the epoch is invalid.
        :raises OutOfOrderSequenceNumber: records before it are missing, or it is older than the window.
        """
        producer = self._by_id.get(producer_id)
        if producer is None:
            if epoch < NO_PRODUCER_EPOCH:
                raise InvalidProducerEpoch(f"the batch of producer {producer_id} has epoch {epoch}")
            return None  # its state may have expired, so any first sequence is accepted (KIP-360)
        if epoch == producer.epoch:
            expected = (producer.last_sequence + 1) % _SEQUENCES
            if first == expected or producer.last_sequence < 0:
                return None
            for entry in producer.window:
                if entry.first_sequence == first and entry.last_sequence == last:
                    return entry.outcome
            raise OutOfOrderSequenceNumber(
                f"producer {producer_id} epoch {epoch} sent sequence {first}, expected {expected}"
            )
        if epoch < producer.epoch:
            raise InvalidProducerEpoch(
                f"producer {producer_id} has epoch {producer.epoch} here, this batch has epoch {epoch}"
            )
        if first != 0:
            raise OutOfOrderSequenceNumber(
                f"producer {producer_id} begins epoch {epoch} with sequence {first}, expected 0"
            )
        return None

    def put(
        self, producer_id: int, epoch: int, first: int, last: int, outcome: object, timestamp: int
    ) -> None:
        """Add a batch that :meth:`find` accepted. ``timestamp`` (ms) is the time for expiry."""
        producer = self._by_id.get(producer_id)
        if producer is None:
            producer = self._by_id[producer_id] = Producer(epoch)
        elif producer.epoch != epoch:
            known = producer.acknowledged()
            producer.left = (known.epoch, known.window[-1]) if known is not None else None
            producer.doubtful = type(producer.window[-1].outcome) is Pending
            producer.epoch = epoch
            producer.window.clear()
        window = producer.window
        if len(window) == WINDOW:
            if type(outcome) is Pending:
                producer.doubtful = type(window[0].outcome) is Pending
                if not producer.doubtful:
                    producer.left = epoch, window[0]
            del window[0]
        window.append(Entry(first, last, outcome))
        producer.last_sequence = last
        producer.last_timestamp = timestamp

    def settle(self, producer_id: int, pending: object, outcome: Appended) -> None:
        """Replace the append in flight by its outcome."""
        producer = self._by_id.get(producer_id)
        if producer is not None:
            for index, entry in enumerate(producer.window):
                if entry.outcome is pending:
                    producer.window[index] = entry._replace(outcome=outcome)
                    return

    def is_tentative(self, producer_id: int) -> bool:
        """Whether an append of the producer's last batch is in flight."""
        producer = self._by_id.get(producer_id)
        return (
            producer is not None
            and bool(producer.window)
            and isinstance(producer.window[-1].outcome, Pending)
        )

    def may_end_with(self, producer_id: int, epoch: int, last_sequence: int) -> bool:
        """Whether this may be the producer's last batch in the store.

        An append in flight may fail, so the last acknowledged batch counts, too. If only appends in flight
        are remembered, every batch of the producer may be the last.
        """
        producer = self._by_id.get(producer_id)
        if producer is None:
            return False
        if producer.epoch == epoch and producer.last_sequence == last_sequence:
            return True
        for entry in reversed(producer.window):
            if isinstance(entry.outcome, Appended):
                return producer.epoch == epoch and entry.last_sequence == last_sequence
        return True

    def have_batches_below(self, offset: int) -> bool:
        """Whether a remembered batch is below ``offset``."""
        return any(
            isinstance(entry.outcome, Appended) and entry.outcome.base_offset < offset
            for producer in self._by_id.values()
            for entry in producer.window
        )

    def take_over(self, producer_id: int, before: Producer) -> None:
        """Merge the producer's state ``before`` the log was read again. Its acknowledged batches count if
        they were not found, as they may have been deleted."""
        known = before.acknowledged()
        found = self._by_id.get(producer_id)
        if known is not None and (
            found is None
            or (
                (found.epoch, found.last_sequence) == (known.epoch, known.last_sequence)
                and len(found.window) < len(known.window)
            )
        ):
            self._by_id[producer_id] = known

    def expire(self, before: int) -> int:
        """Drop producers whose last activity was before this time (ms). Return how many."""
        old = [producer_id for producer_id, state in self._by_id.items() if state.last_timestamp < before]
        for producer_id in old:
            del self._by_id[producer_id]
        return len(old)

    def clear(self) -> None:
        self._by_id.clear()
