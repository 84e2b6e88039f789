"""Down-conversion of batches for Fetch v0-v3, whose clients know only message formats v0 and v1.

It runs in a worker thread, one partition at a time, after the batches were read as for any other fetch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgw_core import workers
from kgw_core.broker import RequestContext
from kgw_core.errors import UnsupportedVersion
from kgw_core.pending import Pending
from kgw_core.records.convert import downconvert
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, PartitionData

FIRST_V2 = 4
"""Fetch versions below this one get message sets."""

_FIRST_V1 = 2

_GROWTH = 4
"""How many times larger a record may be in the old formats: at least 26 bytes instead of 7."""


async def converted(
    request: FetchRequest, response: FetchResponse | Pending[FetchResponse], context: RequestContext
) -> FetchResponse:
    """``response`` with message sets instead of batches.

    As in Kafka, a partition whose batches cannot be converted (zstd; ``message.downconversion.enable =
    false``) has an error.
    """
    if isinstance(response, Pending):
        response = await response.wait()
    size = sum(
        sum(map(len, _runs(answer))) for answered in response.responses for answer in answered.partitions
    )
    if size:
        async with context.broker.logs.answers.hold(_GROWTH * size):
            await _convert_all(request, response, context)
    return response


async def _convert_all(request: FetchRequest, response: FetchResponse, context: RequestContext) -> None:
    for topic, answered in zip(request.topics, response.responses, strict=True):
        for asked, answer in zip(topic.partitions, answered.partitions, strict=True):
            if answer.records:
                await _convert(topic.topic, asked, answer, context)


def _runs(answer: PartitionData) -> list[Any]:
    records: Any = answer.records
    return records if isinstance(records, list) else [records or b""]


async def _convert(name: str, asked: FetchPartition, answer: PartitionData, context: RequestContext) -> None:
    magic = 1 if context.version >= _FIRST_V1 else 0
    runs = _runs(answer)
    most = context.broker.config.limits.max_inflated_batch
    try:
        topic = context.broker.catalog.by_name.get(name)
        if topic is not None and not topic.configs.downconversion:
            raise UnsupportedVersion(f"topic {name} does not convert records to format v{magic}")
        answer.records = await workers.in_thread(_message_sets, runs, magic, asked.fetch_offset, most)
    except Exception as error:
        answer.error_code = context.caught(error, f"{name}-{asked.partition}").code
        answer.high_watermark = -1
        answer.records = b""


def _message_sets(runs: Sequence[Any], magic: int, start_offset: int, max_inflated: int) -> list[Any]:
    return [
        piece
        for run in runs
        for piece in downconvert(run, magic, start_offset=start_offset, max_inflated=max_inflated)
    ]
