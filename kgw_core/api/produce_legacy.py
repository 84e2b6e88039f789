"""Up-conversion of message sets (formats v0 and v1) in a Produce v0-v2 to v2 batches.

Kafka also stores them as v2, since 3.0. Up to :data:`LARGE` uncompressed bytes are converted at once, others
in a worker thread. The connection starts no other request meanwhile, as only Produces from v3 on overlap. So
an old client's sets stay in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from kgw_core import workers
from kgw_core.errors import KafkaError, MessageTooLarge
from kgw_core.records.batch import CODEC_MASK, magic_of
from kgw_core.records.compression import InflatedTooLarge
from kgw_core.records.convert import upconvert
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest

FIRST_V2 = 3
"""Produce versions below this one carry message sets."""

LARGE = 8 << 10
"""Message sets with more bytes than this in one request are converted in a thread (about 5 us a record)."""

_LEGACY_ATTRIBUTES_AT = 17

Refused: TypeAlias = Mapping[int, "KafkaError | None"]
"""By the ``id`` of the partition's data: the error, or None if there is nothing to append."""


def is_large(request: ProduceRequest) -> bool:
    """Whether the conversion is long enough for a thread."""
    sets = [part.records for topic in request.topic_data for part in topic.partition_data if part.records]
    return sum(map(len, sets)) > LARGE or any(
        len(each) > _LEGACY_ATTRIBUTES_AT and each[_LEGACY_ATTRIBUTES_AT] & CODEC_MASK for each in sets
    )


def convert(request: ProduceRequest, max_inflated: int) -> Refused:
    """Replace the request's message sets by v2 batches.

    ``max_inflated`` is the most bytes that a set may inflate to.
    """
    refused: dict[int, KafkaError | None] = {}
    for topic in request.topic_data:
        for part in topic.partition_data:
            try:
                if not _convert_part(part, max_inflated):
                    refused[id(part)] = None
            except KafkaError as error:
                refused[id(part)] = error.with_traceback(None)  # frames hold the inflated bytes
    return refused


async def convert_in_thread(request: ProduceRequest, max_inflated: int) -> Refused:
    """:func:`convert` in a worker thread."""
    return await workers.in_thread(convert, request, max_inflated)


def _convert_part(part: PartitionProduceData, max_inflated: int) -> bool:
    """Convert one set. Return False if it is empty."""
    records = part.records
    if not records:
        return False
    if magic_of(records) < 2:
        try:
            batch = upconvert(records, max_inflated=max_inflated)
        except InflatedTooLarge as error:
            raise MessageTooLarge(str(error)) from None
        part.records = memoryview(batch)
        return bool(batch)
    return True  # as in Kafka, old versions may carry a v2 batch
