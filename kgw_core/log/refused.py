"""Refused sequences: batches of idempotent producers that got a retriable error, and have to come first.

A log that has nothing of a producer takes any first sequence, as the producer's state may have expired
(KIP-360). So after it has refused sequence 0 with a retriable error, it must not take sequence 1. librdkafka
takes the acknowledgement of a later batch for that of all earlier ones, and the record of sequence 0 would be
lost without an error. Rules:

1. A batch that is refused with a retriable error is remembered by log, producer id and epoch. The earliest
   sequence of several counts.
2. While a log has nothing of that producer, it takes only that sequence, or sequence 0 of a higher epoch. All
   others are out of order, and the client sends them again after the missing one.
3. A refusal is dropped when the batch comes, or when the producer expires.
4. The number of refusals is limited. At the limit, producers of which a log has nothing have to begin with
   sequence 0, until the refusals that were not remembered have expired.
5. The header of a batch that arrived damaged may be wrong, too. So only later batches of its epoch are
   refused, and the refusal is not stored.
6. A batch for an unknown topic is also refused with a retriable error, and the topic may be created (again)
   before the next batch comes. So these refusals are remembered by the topic's name, and move to its log when
   the topic is created. The refusals of a deleted log move back to the name. A client may begin anew with a
   new topic. So only later batches of the epoch are refused, and the refusals are not stored. The same holds
   for a batch of a partition that another gateway leads: this one may lead it when the next batch comes.
7. Refusals are stored in the state if it is durable, so that they survive a restart. They are written in the
   background, as soon as the state accepts them. Where several gateways share the logs they are not stored:
   the next leader may have taken the batch meanwhile, or may not know of an earlier one that was in flight.
8. Out of order batches that come soon after a refusal were in flight with the refused one. They get a
   retriable error instead. After OUT_OF_ORDER_SEQUENCE_NUMBER librdkafka begins a new epoch for all
   partitions, and sends other batches of unknown outcome again under it, which would store them twice.
9. A batch with acks=0 is never acknowledged, and its client does not send it again. So its refusal is
   forgotten.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID, uuid5

from kgw_core.background import Background
from kgw_core.errors import InvalidProducerEpoch, KafkaStorageError, OutOfOrderSequenceNumber
from kgw_core.log.producers import Producers
from kgw_core.records.batch import HEADER_SIZE
from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import Buffer, TopicPartition

logger = logging.getLogger(__name__)

PREFIX = b"refused/"

MOST = 100_000
"""The most refusals of all logs."""

LATER_ONLY_MS = 600_000
"""How long refusals of rules 5 and 6 are remembered: longer than clients try to deliver a batch."""

IN_FLIGHT_MS = 10_000
"""How long after a refusal the later batches of its producer may have been in flight with it (rule 8)."""

_NAMES = UUID(int=0)
_SEQUENCES = 1 << 31
_LOG = struct.Struct(">16si")
_HEADER = struct.Struct(">16xb26xqhi")
_REFUSAL = struct.Struct(">qhiq")


class Refusal(NamedTuple):
    """The first ``sequence`` that was refused in ``epoch``. ``time`` is in ms since the epoch, for expiry.

    ``later_only``: only later batches of that epoch are refused, and the refusal is not stored (rules 5 and
    6).
    """

    epoch: int
    sequence: int
    time: int
    later_only: bool = False


class RefusedSequences:
    """The refusals of all logs. ``expiration_ms`` is how long a producer is remembered. See the module's
    docstring."""

    def __init__(
        self,
        background: Background,
        expiration_ms: int,
        state: StateStore | None = None,
        most: int = MOST,
    ) -> None:
        self.active = False
        """Whether there is a refusal to check."""
        self._clock = background.clock
        self.expiration_ms = expiration_ms
        self._state = state
        self._most = most
        self._logs: dict[TopicPartition, dict[int, Refusal]] = {}
        self._count = 0
        self._full_until = 0
        self._names: set[TopicPartition] = set()  # the partitions of unknown topics
        self._unsaved: set[TopicPartition] = set()
        self._saving = background.chore("keeping refused sequences", self._save)

    def remember(
        self,
        tp: TopicPartition,
        producer_id: int,
        epoch: int,
        sequence: int,
        damaged: bool = False,
        absent: bool = False,
    ) -> None:
        """A batch that begins with ``sequence`` was refused with a retriable error.

        ``damaged``: it arrived damaged. ``absent``: there is no such log.
        """
        now = self._clock.time_ms()
        refusals = self._logs.get(tp)
        known = refusals.get(producer_id) if refusals is not None else None
        if damaged and (known is not None or self._count >= self._most // 2):
            return  # the known refusal is surer; or many damaged batches would take the room of others
        self.active = True
        earlier = known is not None and epoch == known.epoch and comes_before(known.sequence, sequence)
        if known is None or (known.later_only and not absent and not earlier):
            if known is None and self._count >= self._most:
                if not self._full_until:
                    logger.warning(
                        "%d refused sequences are remembered, and no more can be: producers that a "
                        "partition does not know have to begin with sequence 0",
                        self._count,
                    )
                self._full_until = max(
                    self._full_until, now + (LATER_ONLY_MS if absent else self.expiration_ms)
                )
                return
            self._count += known is None
        elif epoch < known.epoch:
            return
        elif epoch == known.epoch and not comes_before(sequence, known.sequence):
            if refusals is not None:
                refusals[producer_id] = known._replace(time=now)  # its client still retries
            return
        if refusals is None:
            refusals = self._logs[tp] = {}
        refusals[producer_id] = Refusal(epoch, sequence, now, damaged or absent)
        if not (damaged or absent):
            self._changed(tp)

    def remember_batches(
        self, tp: TopicPartition, batches: Iterable[Buffer], producers: Producers | None, damaged: bool
    ) -> None:
        """These batches were refused with a retriable error. Those of idempotent producers are remembered.
        ``producers`` are the log's, or None if they are unknown."""
        for producer_id, epoch, sequence in _of_producers(batches):
            # If a batch before this one is in flight and fails, that one is remembered.
            if producers is None or not producers.is_tentative(producer_id):
                self.remember(tp, producer_id, epoch, sequence, damaged)

    def remember_absent(self, topic: str | bytes, partition: int, batches: Iterable[Buffer]) -> None:
        """These batches were refused, as there is no such partition, or another gateway leads it.

        ``topic`` is the topic's name or its id (16 bytes).
        """
        for producer_id, epoch, sequence in _of_producers(batches):
            if isinstance(topic, str):
                tp = _by_name(topic, partition)
                self._names.add(tp)
            else:
                tp = TopicPartition("", UUID(bytes=topic), partition)
            self.remember(tp, producer_id, epoch, sequence, absent=True)

    def made(self, tp: TopicPartition) -> None:
        """The log was created: batches that were refused before have to come first."""
        if self._names:
            name = _by_name(tp.topic, tp.partition)
            self._names.discard(name)
            self._move(name, tp)

    def deleted(self, tp: TopicPartition) -> None:
        """The log was deleted. A topic of its name may be created before the batches come again."""
        if tp in self._logs:
            name = _by_name(tp.topic, tp.partition)
            self._names.add(name)
            self._move(tp, name)
            self._changed(tp)

    def _move(self, tp: TopicPartition, to: TopicPartition) -> None:
        refusals = self._logs.pop(tp, _NONE)
        self._count -= len(refusals)
        for producer_id, refusal in refusals.items():
            self.remember(to, producer_id, refusal.epoch, refusal.sequence, absent=True)

    def check(self, tp: TopicPartition, producer_id: int, epoch: int, sequence: int) -> None:
        """Return if the log may take this batch of a producer of which it has nothing.

        :raises OutOfOrderSequenceNumber: another batch was refused and has to come first.
        :raises InvalidProducerEpoch: a batch of a newer epoch was refused.
        """
        refusal = self._logs.get(tp, _NONE).get(producer_id)
        if refusal is None:
            expected = 0 if self._clock.time_ms() < self._full_until else sequence
        elif refusal.later_only:
            later = epoch == refusal.epoch and comes_before(refusal.sequence, sequence)
            expected = refusal.sequence if later else sequence
        elif epoch < refusal.epoch:
            raise InvalidProducerEpoch(
                f"producer {producer_id} has epoch {refusal.epoch} here, this batch has epoch {epoch}"
            )
        else:
            expected = refusal.sequence if epoch == refusal.epoch else 0
        if sequence != expected:
            raise OutOfOrderSequenceNumber(
                f"producer {producer_id} epoch {epoch} sent sequence {sequence}; {expected} has to come first"
            )

    def in_flight_behind(
        self, tp: TopicPartition, producer_id: int, epoch: int, sequence: int
    ) -> KafkaStorageError | None:
        """The error for an out of order batch that was in flight with a refused one (rule 8); else None."""
        refusal = self._logs.get(tp, _NONE).get(producer_id)
        if (
            refusal is None
            or refusal.epoch != epoch
            or not comes_before(refusal.sequence, sequence)
            or self._clock.time_ms() - refusal.time > IN_FLIGHT_MS
        ):
            return None
        return KafkaStorageError(
            f"producer {producer_id} epoch {epoch} sent sequence {sequence}; {refusal.sequence} was refused "
            "and has to come first"
        )

    def forget(self, tp: TopicPartition, batches: Iterable[Buffer]) -> None:
        """Nobody waits for these batches (rule 9): later batches of their producers may come."""
        for producer_id, _, _ in _of_producers(batches):
            self.taken(tp, producer_id)

    def taken(self, tp: TopicPartition, producer_id: int) -> None:
        """The log has taken the batch that had to come first."""
        refusals = self._logs.get(tp)
        if refusals is not None and refusals.pop(producer_id, None) is not None:
            self._dropped(tp, refusals, 1)

    def expire(self, before: int) -> None:
        """Drop the refusals of before this time (ms)."""
        later_before = max(before, self._clock.time_ms() - LATER_ONLY_MS)
        for tp, refusals in list(self._logs.items()):
            old = [
                producer_id
                for producer_id, refusal in refusals.items()
                if refusal.time < (later_before if refusal.later_only else before)
            ]
            if old:
                for producer_id in old:
                    del refusals[producer_id]
                self._dropped(tp, refusals, len(old))
        if self._clock.time_ms() >= self._full_until:
            self._full_until = 0
        self.active = bool(self._logs or self._full_until)

    def _dropped(self, tp: TopicPartition, refusals: dict[int, Refusal], count: int) -> None:
        self._count -= count
        if not refusals:
            del self._logs[tp]
            self._names.discard(tp)
            self.active = bool(self._logs or self._full_until)
        self._changed(tp)

    # -- storing refusals

    async def load(self) -> None:
        """Read the stored refusals. Call this once, before any log is opened. :raises Exception: from the
        state."""
        if self._state is None:
            return
        async for entry in self._state.scan(PREFIX):
            try:
                topic_id, partition = _LOG.unpack(entry.key[len(PREFIX) :])
                refusals = {
                    producer_id: Refusal(epoch, sequence, time)
                    for producer_id, epoch, sequence, time in _REFUSAL.iter_unpack(entry.value)
                }
            except struct.error as error:
                logger.error(
                    "the value of %r is ignored, as it has no refused sequences: %s", entry.key, error
                )
                continue
            self._logs[TopicPartition("", UUID(bytes=topic_id), partition)] = refusals
            self._count += len(refusals)
            self.active = True

    def _changed(self, tp: TopicPartition) -> None:
        if self._state is not None:
            self._unsaved.add(tp)
            self._saving.due()

    async def _save(self) -> None:
        assert self._state is not None
        while self._unsaved:
            tps, self._unsaved = self._unsaved, set()
            try:
                await self._state.commit({_key(tp): self._packed(tp) for tp in tps})
            except BaseException:
                self._unsaved |= tps
                raise

    async def finish(self) -> None:
        """The gateway stops: make one more attempt to store refusals."""
        await self._saving.finish()

    def _packed(self, tp: TopicPartition) -> bytes | None:
        refusals = self._logs.get(tp)
        if not refusals:
            return None
        kept = b"".join(
            _REFUSAL.pack(producer_id, *refusal[:3])
            for producer_id, refusal in refusals.items()
            if not refusal.later_only
        )
        return kept or None


_NONE: dict[int, Refusal] = {}


def comes_before(sequence: int, other: int) -> bool:
    """Whether ``sequence`` is before ``other``. Sequences wrap to 0 after 2^31 - 1."""
    return 0 < (other - sequence) % _SEQUENCES < _SEQUENCES // 2


def _of_producers(batches: Iterable[Buffer]) -> Iterator[tuple[int, int, int]]:
    """Producer id, epoch and first sequence of each batch of an idempotent producer."""
    for data in batches:
        if len(data) >= HEADER_SIZE:
            magic, producer_id, epoch, sequence = _HEADER.unpack_from(data)
            if magic == 2 and producer_id >= 0 and epoch >= 0 and sequence >= 0:
                yield producer_id, epoch, sequence


def _by_name(topic: str, partition: int) -> TopicPartition:
    """The key of a partition of a topic with this name that may be created later."""
    return TopicPartition("", uuid5(_NAMES, topic), partition)


def _key(tp: TopicPartition) -> bytes:
    return PREFIX + _LOG.pack(tp.topic_id.bytes, tp.partition)
