"""What is kept of logs in the state: only of those that are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import TopicPartition

if TYPE_CHECKING:
    from kgw_core.log.partition import PartitionLog


async def keep(
    state: StateStore, key: Callable[[TopicPartition], bytes], values: Mapping[PartitionLog, bytes]
) -> None:
    """Put the value of each log under its ``key``; one that is deleted before or meanwhile leaves nothing.

    :raises KafkaError: as ``state.commit``.
    """
    logs = [log for log in values if not log.topic.deleted]
    if not logs:
        return
    await state.commit({key(log.tp): values[log] for log in logs})
    gone = [log for log in logs if log.topic.deleted]
    if gone:  # what its deletion took away may have been before this came
        await state.commit({key(log.tp): None for log in gone})
